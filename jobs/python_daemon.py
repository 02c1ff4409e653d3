"""The process that Spark's Python workers are forked from, which reads archives once.

Before each task a worker has Python forget what it knows of files that could be imported. For an
archive in the path, Python 3.10 and 3.11 then read its whole list of contents again, once for each
package that was imported from it, and Spark has three in the path: half a second for each task.
None of them changes while a worker lives. (Python 3.12 reads when something is imported, see
https://github.com/python/cpython/issues/103200; that Spark takes a daemon of ours, SPARK-22959.)
"""

import zipimport
from typing import Any

from pyspark import daemon

if __name__ == "__main__":
    importer: Any = zipimport.zipimporter  # mypy lets nobody replace a method
    importer.invalidate_caches = lambda _: None
    pyspark_daemon: Any = daemon  # without types
    pyspark_daemon.manager()
