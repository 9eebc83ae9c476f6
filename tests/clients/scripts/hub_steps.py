# SPDX-License-Identifier: Apache-2.0
"""huggingface_hub, any version: the steps of the request, one after the other in one process."""
import os

from steps import read_request, run, sha256

import huggingface_hub


def file(step, options):
    path = huggingface_hub.hf_hub_download(step["repo"], step["file"], **options)
    return {"path": path, "sha256": sha256(path)}


def snapshot(step, options):
    top = huggingface_hub.snapshot_download(step["repo"], **options)
    files = {}
    for folder, _, names in os.walk(top):
        for name in names:
            full = os.path.join(folder, name)
            files[os.path.relpath(full, top)] = sha256(full)
    return {"path": top, "files": files}


def probe(step, options):
    found = huggingface_hub.try_to_load_from_cache(step["repo"], step["file"], **options)
    if isinstance(found, str):
        return {"path": found}
    return {"found": "nothing" if found is None else "known to be absent"}


def scan(step, options):
    seen = huggingface_hub.scan_cache_dir(**options)
    repos = {f"{repo.repo_type}s/{repo.repo_id}": {
        "refs": {name: revision.commit_hash for name, revision in repo.refs.items()},
        "commits": sorted(revision.commit_hash for revision in repo.revisions),
        "files": sorted({file.file_name for revision in repo.revisions for file in revision.files}),
        "size": repo.size_on_disk} for repo in seen.repos}
    return {"repos": repos, "warnings": [str(each) for each in seen.warnings]}


request = read_request()
for each in request["steps"]:
    options = {**request.get("options", {}), **each.get("options", {})}
    run(each["step"], lambda: {"file": file, "snapshot": snapshot, "probe": probe, "scan": scan}[each["do"]](
        each, options))
