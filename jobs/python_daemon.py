"""The process that Spark forks its Python workers from; ours keeps the import caches of archives.

Before each task a worker calls ``importlib.invalidate_caches``. For every archive in the path,
Python 3.10 and 3.11 then read the list of contents again, once for each package that was imported
from it. Spark has three archives in the path: half a second for each task. None of them changes
while a worker lives. Python 3.12 reads only when something is imported
(https://github.com/python/cpython/issues/103200). SPARK-22959 lets us set the daemon module.
"""

import zipimport
from typing import Any

from pyspark import daemon

if __name__ == "__main__":
    importer: Any = zipimport.zipimporter  # mypy allows no assignment to a method
    importer.invalidate_caches = lambda _: None
    pyspark_daemon: Any = daemon  # untyped
    pyspark_daemon.manager()
