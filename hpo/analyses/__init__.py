"""What is made of a refitted winner, beyond its scores; one analysis a module."""
