// SPDX-License-Identifier: Apache-2.0
#include "doctor_proxies.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <map>

namespace hffs::cli {
namespace {

using Variables = std::map<std::string, std::string, std::less<>>;

struct ProxyKind {
  const char* lower;
  const char* upper;
};
constexpr std::array<ProxyKind, 3> kProxyKinds{{{"https_proxy", "HTTPS_PROXY"}, {"http_proxy", "HTTP_PROXY"}, {"no_proxy", "NO_PROXY"}}};

// The daemon's, as it was started; nothing where we may not look.
std::optional<Variables> load_environment(int process) {
  std::ifstream file(fmt::format("/proc/{}/environ", process));
  Variables found;
  for (std::string item; std::getline(file, item, '\0');)
    if (const std::size_t sign = item.find('='); sign != std::string::npos) found[item.substr(0, sign)] = item.substr(sign + 1);
  return found.empty() ? std::nullopt : std::optional(std::move(found));
}

std::string first_of(const Environment& environment, const ProxyKind& kind) {
  for (const char* name : {kind.lower, kind.upper})
    if (const auto value = environment(name); value && !value->empty()) return *value;
  return {};
}

void compare_with_daemon(const Patient& patient, Checks& checks) {
  const auto theirs = load_environment(patient.status->at("pid").get<int>());
  if (!theirs) return;
  const Environment daemon = [&](std::string_view name) {
    const auto found = theirs->find(name);
    return found == theirs->end() ? std::nullopt : std::optional(found->second);
  };
  for (const ProxyKind& kind : kProxyKinds) {
    const std::string ours = first_of(patient.environment, kind);
    if (ours.empty() || ours == first_of(daemon, kind)) continue;
    checks.push_back(doubtful("proxy", fmt::format("{} of this shell is not what the daemon was started with", kind.upper),
                              begin_anew(patient, {.before = {}, .without = {}, .by_root = "writes it into /etc/default/hffs"})));
  }
}

}  // namespace

// The values may hold passwords.
void check_proxies(const Patient& patient, Checks& checks) {
  if (patient.config && patient.config->proxy.address) {  // whatever the variables say
    const std::string proxy = without_user(patient.config->proxy.address->reveal());
    checks.push_back(good("proxy", fmt::format("{}, as `proxy` in the configuration says", proxy.empty() ? "none" : proxy)));
    return;
  }
  const std::size_t before = checks.size();
  std::string set;
  for (const ProxyKind& kind : kProxyKinds) {
    const auto lower = patient.environment(kind.lower), upper = patient.environment(kind.upper);
    if (!first_of(patient.environment, kind).empty()) set += (set.empty() ? "" : ", ") + std::string(kind.upper);
    if (lower && upper && !lower->empty() && !upper->empty() && *lower != *upper)
      checks.push_back(doubtful("proxy", fmt::format("{} and {} differ: hffs takes the former, others may not", kind.lower, kind.upper),
                                {.run = fmt::format("export {}=\"${}\"", kind.upper, kind.lower), .who = {}}));
  }
  if (patient.status) compare_with_daemon(patient, checks);
  if (checks.size() == before) checks.push_back(good("proxy", set.empty() ? "none" : set));
}

}  // namespace hffs::cli
