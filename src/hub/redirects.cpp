// SPDX-License-Identifier: Apache-2.0
#include "redirects.h"

namespace hffs::hub {
namespace {

constexpr std::size_t kMostHops = 20;

// Mirrors pass on Location headers that still name the Hub.
bool is_the_hub(const Url& url) {
  return url.scheme == "https" && url.host == "huggingface.co" && url.port == 443;
}

}  // namespace

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

Journey::Journey(Url endpoint, Url start)
    : endpoint_(std::move(endpoint)),
      here_(std::move(start)),
      left_(!same_origin(endpoint_, here_)),
      sender_(Zone::loopback) {
  visited_.insert(here_.text());
}

Journey::Journey(Url endpoint, Url kept, Zone sender)
    : endpoint_(std::move(endpoint)), here_(std::move(kept)), left_(true), sender_(sender) {
  visited_.insert(here_.text());
}

Result<void> Journey::follow(const Headers& headers) {
  auto next = resolve_url(here_, headers.get("location"));
  if (!next) return fail(Code::unreachable, "a redirect to {}", next.error().message);
  if (!left_ && is_the_hub(*next) && !is_the_hub(endpoint_)) {
    Url mine = endpoint_;
    if (mine.path.ends_with('/')) mine.path.pop_back();
    mine.path += next->path;
    mine.query = next->query;
    // A mirror that sends us to the Hub for what it does not have would loop: then go there.
    if (!visited_.contains(mine.text())) next = std::move(mine);
  }
  if (visited_.size() > kMostHops)
    return fail(Code::unreachable, "more than {} redirects", kMostHops);
  if (!visited_.insert(next->text()).second)
    return fail(Code::unreachable, "redirects in a circle");
  const bool local = endpoint_.scheme == "http" && is_loopback(endpoint_);
  if (here_.scheme == "https" && next->scheme == "http" && !local)
    return fail(Code::unreachable, "a redirect from https to http ({})", next->shown());
  left_ = left_ || !same_origin(endpoint_, *next);
  here_ = std::move(*next);
  return {};
}

}  // namespace hffs::hub
