# SPDX-License-Identifier: Apache-2.0
"""make_parquet.py FILE: a hundred rows."""
import sys

import pyarrow
import pyarrow.parquet

numbers = list(range(100))
pyarrow.parquet.write_table(pyarrow.table({"n": numbers, "square": [n * n for n in numbers]}), sys.argv[1])
