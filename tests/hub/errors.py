# SPDX-License-Identifier: Apache-2.0
"""The Hub's refusals, in the words and headers that its clients look for."""


class HubError(Exception):
    def __init__(self, status, message, code=None, headers=()):
        super().__init__(message)
        self.status, self.message, self.code, self.headers = status, message, code, list(headers)


def repo_not_found(anonymous, coded):
    if not anonymous:
        return HubError(404, "Repository not found", "RepoNotFound")
    return HubError(401, "Invalid username or password.", "RepoNotFound" if coded else None)


def bad_credentials():
    return HubError(401, "Invalid credentials in Authorization header")


def gated(repo, anonymous):
    if anonymous:
        return HubError(401, f"Access to {repo.type} {repo.id} is restricted. You must have access to it and be "
                        "authenticated to access it. Please log in.", "GatedRepo")
    return HubError(403, f"Access to {repo.type} {repo.id} is restricted and you are not in the authorized list. "
                    f"Visit https://huggingface.co/{repo.id} to ask for access.", "GatedRepo")


def disabled():
    return HubError(403, "Access to this resource is disabled.")


def revision_not_found(revision):
    return HubError(404, f"Invalid rev id: {revision}", "RevisionNotFound")


def entry_not_found(message, commit):
    return HubError(404, message, "EntryNotFound", [("X-Repo-Commit", commit)])


def bad_request(message):
    return HubError(400, message)


def no_route():
    return HubError(404, "Sorry, we can't find the page you are looking for.")
