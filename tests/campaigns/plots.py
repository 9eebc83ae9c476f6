# SPDX-License-Identifier: Apache-2.0
"""Pictures of a report's series: plots.py REPORT.json makes REPORT.png. Needs matplotlib (build/venvs/bench)."""
import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

path = Path(sys.argv[1])
report = json.loads(path.read_text())
series = report["series"]
figure, axes = plt.subplots(len(series), 1, figsize=(9, 1 + 1.8 * len(series)), squeeze=False)
for axis, (name, points) in zip(axes[:, 0], series.items()):
    axis.plot(*zip(*points), marker="." if len(points) < 100 else "", linewidth=1)
    axis.set_ylabel(name, fontsize=8)
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
axes[-1, 0].set_xlabel("seconds")
axes[0, 0].set_title(report["campaign"])
figure.tight_layout()
figure.savefig(path.with_suffix(".png"), dpi=100)
