# SPDX-License-Identifier: Apache-2.0
"""The stack and the ways of Open-Sora 1.2: a text encoder that takes a cache directory and no path, and
autoencoder and transformer that only a variable reaches."""
import pytest
from opensora import REPOS
from pair import fill, run_both


@pytest.mark.parametrize("mode", ["online", "offline", "down"])
@pytest.mark.parametrize("by", ["variable", "cache_dir"])
def test_models_load(stack, mount, folder, by, mode):
    plain = fill(stack, "opensora.py", folder / f"plain-opensora-{by}", by=by)
    made = mount()
    if mode == "down":
        for id in REPOS:
            made.warm(id)
    # For a .bin it asks the Hub whether there is a safetensors, and takes no answer for an error.
    run_both(stack, "opensora.py", made, plain, mode, by=by).check(
        may_fail={"text encoder"} if mode == "down" else ())


def test_local_files_only_of_models_never_seen(stack, mount, folder):
    plain = fill(stack, "opensora.py", folder / "plain-opensora-variable")
    run_both(stack, "opensora.py", mount(), plain, request={"local_files_only": True}).check()
