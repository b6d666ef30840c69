"""Known vulnerabilities of what an environment has: ``audit.py PIP_AUDIT PYTHON``.

It tells them and ends with 0, as they come and go without a change of this project. Where the data
cannot be reached, it says so.
"""

import json
import subprocess
import sys

LIBRARIES = "import sysconfig; print(sysconfig.get_path('purelib'))"
SECONDS = 120


def main(pip_audit: str, python: str) -> int:
    """Audit the environment of ``python``."""
    path = subprocess.check_output([python, "-c", LIBRARIES], text=True).strip()
    command = [pip_audit, "--path", path, "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        packages = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        packages = []
    asked = [package for package in packages if "vulns" in package]
    if not asked:
        print("skipped: the data on vulnerabilities cannot be reached")
        return 0
    found = [(package, flaw) for package in asked for flaw in package["vulns"]]
    for package, flaw in found:
        mended = ", ".join(flaw["fix_versions"]) or "no version"
        print(f"{package['name']} {package['version']}: {flaw['id']}, mended in {mended}")
    print(f"{len(asked)} packages, {len(found)} known vulnerabilities")
    print(f"without data: {len(packages) - len(asked)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
