// SPDX-License-Identifier: Apache-2.0
#include "content_check.h"

#include "redirects.h"

namespace hffs::hub {
namespace {

using Kind = ContentVerdict::Kind;

ContentVerdict not_content(std::string_view why) {
  return {Kind::refused, {}, {Code::unreachable, std::string(why), {}}};
}
ContentVerdict contradiction(std::string why) {
  return {Kind::contradicts, {}, {Code::corrupt, std::move(why), {}}};
}

bool is_expired(int status) {
  return status == 401 || status == 403 || status == 404 || status == 410;
}

ContentVerdict check_partial(const FileSource& file, ByteRange asked, const Headers& headers) {
  if (headers.get("content-type").starts_with("multipart/"))
    return not_content("several parts for one range");
  const auto range = parse_content_range(headers.get("content-range"));
  if (!range || range->unsatisfied) return not_content("206 without a usable Content-Range");
  if (range->total && *range->total != file.size)
    return contradiction(
        fmt::format("it has {} bytes, the tree says {}", *range->total, file.size));
  if (range->first != asked.offset) return not_content("another range than asked for");
  if (range->last >= asked.end()) return not_content("a longer range than asked for");
  const ByteRange delivered{range->first, range->last - range->first + 1};
  const auto length = parse_number(headers.get("content-length"));
  if (length && *length != delivered.size) return not_content("Content-Length is not the range's");
  return {Kind::accept, delivered, {}};
}

// The range was ignored: the whole file, from 0, if it is the file.
ContentVerdict check_whole(const FileSource& file, const Headers& headers) {
  if (const auto length = parse_number(headers.get("content-length"));
      length && *length != file.size)
    return not_content(fmt::format("200 with {} bytes, the file has {}", *length, file.size));
  return {Kind::accept, {0, file.size}, {}};
}

// A mirror may send its own bytes without naming the commit (olah does); a page of HTML that comes
// so is a captive portal's.
bool commit_told(const ContentAnswer& answer) {
  if (answer.commit_seen || answer.headers.has("x-repo-commit")) return true;
  return answer.at_home && !answer.headers.get("content-type").starts_with("text/html");
}

ContentVerdict check_status(const FileSource& file, const ContentAnswer& answer) {
  const Verdict verdict = judge(answer.status, answer.headers);
  Error error = refusal(verdict, answer.status, answer.headers, file.path);
  switch (verdict) {
    case Verdict::repo_missing:
    case Verdict::revision_missing:
    case Verdict::entry_missing:
    case Verdict::needs_login:
    case Verdict::denied:
    case Verdict::rate_limited:
    case Verdict::transient: break;
    // The commit has the file: who says otherwise without a Hub's words is no Hub.
    default: error.code = Code::unreachable;
  }
  return {Kind::refused, {}, std::move(error)};
}

}  // namespace

Result<void> check_pins(const FileSource& file, int status, const Headers& headers) {
  const std::string_view commit = headers.get("x-repo-commit");
  if (!commit.empty() && commit != file.commit.hex())
    return fail(Code::corrupt, "it is of another commit");
  const std::string_view linked = headers.get("x-linked-etag");
  const bool final = status == 200 || status == 206;
  const std::string etag = normal_etag(!linked.empty() ? linked
                                       : final         ? headers.get("etag")
                                                       : std::string_view());
  // A mirror's own kind of ETag says nothing; a hash of the same kind must be the same.
  if (const auto blob = BlobId::parse(etag);
      blob && blob->kind() == file.blob.kind() && *blob != file.blob)
    return fail(Code::corrupt, "its ETag is another content's");
  const auto size = parse_number(headers.get("x-linked-size"));
  if (size && *size != file.size)
    return fail(Code::corrupt, "it has {} bytes, the tree says {}", *size, file.size);
  return {};
}

ContentVerdict check_content(const FileSource& file, ByteRange asked, const ContentAnswer& answer) {
  const int status = answer.status;
  const Headers& headers = answer.headers;
  const bool speaks_as_hub = answer.at_home || headers.has("x-repo-commit");
  if (speaks_as_hub && (status < 400 || status == 416))
    if (auto pins = check_pins(file, status, headers); !pins)
      return contradiction(std::move(pins.error().message));
  if (is_redirect(status)) return {Kind::redirect, {}, {}};
  if (status == 200 || status == 206) {
    if (!commit_told(answer)) return not_content("no X-Repo-Commit: not a Hub");
    const std::string_view encoding = headers.get("content-encoding");
    if (!encoding.empty() && encoding != "identity") return not_content("an encoded body");
    return status == 206 ? check_partial(file, asked, headers) : check_whole(file, headers);
  }
  if (status == 416) {
    const auto range = parse_content_range(headers.get("content-range"));
    if (range && range->total && *range->total != file.size)
      return contradiction(
          fmt::format("it has {} bytes, the tree says {}", *range->total, file.size));
    return not_content("416 for a range inside the file");
  }
  if (!answer.at_home && is_expired(status))
    return {Kind::expired,
            {},
            {Code::unreachable, fmt::format("the store of bytes says {}", status), {}}};
  return check_status(file, answer);
}

}  // namespace hffs::hub
