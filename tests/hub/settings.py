# SPDX-License-Identifier: Apache-2.0
"""How a Hub behaves, where Hubs and mirrors differ."""
from dataclasses import dataclass, fields


@dataclass
class Settings:
    """May change at any time."""
    bytes: str = "nginx"  # where LFS bytes come from: "nginx", "hub" (302 to a second port), "direct" (200)
    git_files: str = "redirect"  # small files: "redirect" (307 to resolve-cache) or "direct" (200)
    strict_query: bool = False  # 400 to whom drops that redirect's query (huggingface_hub 0.17 does)
    linked_on_git: bool = False  # X-Linked-* on that 307 too
    linked_headers: bool = True  # False: a mirror that strips X-Linked-*
    etag_quotes: bool = True
    ranges: bool = True  # False: never heeds Range (what nginx sends is not affected)
    page_size: int = 1000
    expand_page_size: int = 50
    honour_limit: bool = True
    tree_directories: bool = True  # False: a recursive tree lists files only
    tree_order: str = "sorted"  # or "shuffled"
    tree_slash_redirect: bool = False  # …/tree/REV answers 307 to …/tree/REV/
    lfs_oid: str = "git"  # or "sha256": the top-level oid of LFS files is their SHA-256
    json_paths_info: bool = True  # False: 422 to a JSON body
    resolve_renamed: str = "serve"  # or "redirect"
    missing_coded: bool = True  # False: an anonymous 401 for a missing repository has no X-Error-Code
    absent_routes: tuple = ()  # kinds that this Hub does not have: "auth-check", "whoami", "refs"…
    link_origin: str = ""  # what Link and redirects say instead of this Hub's own origin
    bytes_link: str = ""  # what signed URLs say instead of the byte origin's own: a proxy before it
    url_ttl: float = 3600  # seconds that a signed URL is good for
    expired_status: int = 403  # and what the hub's own byte port says then

    def __setattr__(self, name, value):
        if name not in {each.name for each in fields(self)}:
            raise AttributeError(f"no setting {name}")
        object.__setattr__(self, name, value)
