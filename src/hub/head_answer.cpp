// SPDX-License-Identifier: Apache-2.0
#include "head_answer.h"

namespace hffs::hub {

Result<std::optional<TreeEntry>> read_head(const Answer& answer, const CommitId& commit,
                                           const std::string& path) {
  switch (answer.verdict) {
    case Verdict::ok: break;
    case Verdict::entry_missing: return std::optional<TreeEntry>{};
    case Verdict::missing:
      // Anybody can say 404; only who knows the commit can say what it lacks.
      if (answer.trail.get("x-repo-commit") == commit.hex()) return std::optional<TreeEntry>{};
      [[fallthrough]];
    default: return fail(refusal(answer.verdict, answer.status, answer.headers, path));
  }
  const Headers& trail = answer.trail;
  if (!trail.has("x-repo-commit")) return fail(Code::unreachable, "no X-Repo-Commit: not a Hub");
  if (trail.get("x-repo-commit") != commit.hex())
    return fail(Code::unreachable, "{} is of another commit", path);
  const bool has_linked = trail.has("x-linked-etag");
  auto blob = BlobId::parse(normal_etag(trail.get(has_linked ? "x-linked-etag" : "etag")));
  auto size = parse_number(trail.get("x-linked-size"));
  if (!size && answer.at_home && answer.status == 200)
    size = parse_number(answer.headers.get("content-length"));
  if (!blob || !size)
    return fail(Code::unsupported, "the endpoint does not tell the hash and size of {}", path);
  return TreeEntry{.kind = TreeEntry::Kind::file, .path = path, .size = *size, .blob = *blob};
}

}  // namespace hffs::hub
