"""What scores can tell: intervals, the price of having chosen, and differences against noise.

Functions of arrays, which know nothing of studies or estimators.
"""
