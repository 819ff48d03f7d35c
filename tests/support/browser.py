"""A headless Chromium, driven through playwright-core, and packages of the npm registry; neither is in this repository.

::

    browser.package("hls.js")                       # the folder of the package, fetched when first asked for
    browser.run(script, url)                        # the script's default export gets a page and arguments; its answer
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from support import corpus
from support.tools import IN_CI, require

PACKAGES = {"hls.js": "1.7.4", "playwright-core": "1.65.1"}
HOME = corpus.ROOT / "build" / "npm"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip
DRIVER = """
import { createRequire } from 'node:module';
const require = createRequire(process.argv[2] + '/');
const { chromium } = require('playwright-core');
const [flags, profile, script, args] = process.argv.slice(3).map((text) => JSON.parse(text));
const context = await chromium.launchPersistentContext(profile, { executablePath: '/usr/bin/chromium', args: flags });
try {
    const page = await context.newPage();
    const act = (await import(script)).default;
    console.log(JSON.stringify(await act(page, ...args)));
} finally {
    await context.close();
}
"""


def packages() -> Path:
    """The folder whose ``node_modules`` has `PACKAGES`, filled by npm when it is not there yet.

    Skips the test, with the reason, where Chromium, node or npm is missing or the registry is out of reach.
    """
    require("chromium", "node", "npm")
    home = HOME / "-".join(f"{name}-{version}" for name, version in PACKAGES.items())
    if not home.exists():
        HOME.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=HOME, prefix=".fetching-") as fetching:
            wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
            done = subprocess.run(
                ["npm", "install", "--prefix", fetching, "--ignore-scripts", "--no-audit", "--no-fund", *wanted],
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            if done.returncode != 0:
                reason = f"npm gives no {' and '.join(wanted)}: {done.stderr[-300:]}"
                pytest.fail(reason, pytrace=False) if IN_CI else pytest.skip(reason)
            try:
                os.rename(fetching, home)
            except OSError:
                return home  # another process was faster
            os.mkdir(fetching)  # for the context manager to take away
    return home


def package(name: str) -> Path:
    """The folder of package *name*."""
    return packages() / "node_modules" / name


def run(script: str, *arguments: object) -> object:
    """What the JavaScript module *script* answers: its default export is called with a page and *arguments*."""
    home = packages()
    with tempfile.TemporaryDirectory(prefix="kithara-browser-") as folder:
        driver, module = Path(folder) / "driver.mjs", Path(folder) / "script.mjs"
        driver.write_text(DRIVER)
        module.write_text(script)
        told = [list(FLAGS), f"{folder}/profile", module.as_uri(), list(arguments)]
        done = subprocess.run(
            [shutil.which("node") or "node", driver, home, *map(json.dumps, told)],
            capture_output=True,
            text=True,
            timeout=170,
            check=False,
        )
    assert 0 == done.returncode, done.stderr[-3000:]
    return json.loads(done.stdout)
