// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "hffs/json_text.h"
#include "settings.h"

namespace hffs {
namespace {

using nlohmann::json;

constexpr std::array kLevelWords{"debug", "info", "warn", "error"};
constexpr std::array kPolicyWords{"off", "adaptive", "file", "snapshot"};

double as_seconds(std::chrono::milliseconds time) {
  return std::chrono::duration<double>(time).count();
}

json limit_of(const std::optional<std::uint64_t>& limit) {
  return limit ? json(*limit) : json("off");
}

json texts_of(const std::vector<RepoPattern>& patterns) {
  json texts = json::array();
  for (const RepoPattern& each : patterns) texts.push_back(each.text());
  return texts;
}

class Report {
 public:
  explicit Report(const Settings& settings) : settings_(settings) {
    report_.file = settings.file_path();
  }
  struct Places {
    std::string_view flag = {};   // that was given
    std::string variable = {};    // that is set, and says something
    bool in_file = false;
  };
  void add(std::string_view name, const json& value, const Places& places) {
    SettingsReport::Setting setting{.name = std::string(name), .value = json_text(value), .source = "default", .from = {}};
    if (!places.flag.empty())
      setting.source = "flag", setting.from = places.flag;
    else if (!places.variable.empty())
      setting.source = "env", setting.from = places.variable;
    else if (places.in_file)
      setting.source = "file", setting.from = settings_.file_path();
    report_.settings.push_back(std::move(setting));
  }
  // The name again, where the variable is set.
  std::string variable(std::string_view name) const {
    return settings_.variable(name) ? std::string(name) : std::string();
  }
  SettingsReport take() { return std::move(report_); }

 private:
  const Settings& settings_;
  SettingsReport report_;
};

template <class T>
std::string_view given(const std::optional<T>& flag, std::string_view name) {
  return flag ? name : std::string_view();
}

Report::Places place_of_token(const Report& report, const FileSettings& file) {
  if (file.anonymous.value_or(false)) return {.in_file = true};
  for (const char* name : {"HF_TOKEN", "HF_TOKEN_PATH"})
    if (auto variable = report.variable(name); !variable.empty()) return {.variable = variable};
  if (file.token_file) return {.in_file = true};
  return {.variable = report.variable("HF_HOME")};
}

std::string place_of_bundle(const Settings& settings) {
  std::error_code error;
  for (const char* name : {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"})
    if (const auto path = settings.variable(name); path && std::filesystem::exists(settings.absolute(*path), error))
      return name;
  return {};
}

void add_policy(Report& report, const Config& config, const FileSettings& file) {
  const Policy::Rules& policy = config.policy;
  report.add("allow", policy.allow ? texts_of(*policy.allow) : json(), {.in_file = file.allow.has_value()});
  report.add("deny", texts_of(policy.deny), {.in_file = file.deny.has_value()});
  report.add("no_fetch", policy.no_fetch, {.in_file = file.no_fetch.has_value()});
  report.add("user_bytes", limit_of(config.budget.user_bytes), {.in_file = file.user_bytes.has_value()});
  report.add("total_bytes", limit_of(config.budget.total_bytes), {.in_file = file.total_bytes.has_value()});
  report.add("user_requests", limit_of(config.budget.user_requests),
             {.in_file = file.user_requests.has_value()});
  report.add("total_requests", limit_of(config.budget.total_requests),
             {.in_file = file.total_requests.has_value()});
  report.add("user_size", limit_of(config.user_size), {.in_file = file.user_size.has_value()});
  report.add("user_files", limit_of(config.user_files), {.in_file = file.user_files.has_value()});
  report.add("total_size", limit_of(config.total_size), {.in_file = file.total_size.has_value()});
  report.add("total_files", limit_of(config.total_files), {.in_file = file.total_files.has_value()});
}

}  // namespace

Result<SettingsReport> report_config(const Flags& flags, const Environment& environment) {
  auto config = load_config(flags, environment);
  if (!config) return fail(config);
  Settings settings(flags, environment);
  if (auto loaded = settings.load_file(); !loaded) return fail(loaded);
  const FileSettings& file = settings.file();
  Report report(settings);

  report.add("state_dir", config->state_dir,
             {given(flags.state_dir, "--state-dir"), report.variable("HFFS_STATE_DIR"), file.state_dir.has_value()});
  report.add("endpoints", config->endpoints,
             {flags.endpoints.empty() ? "" : "--endpoint", report.variable("HF_ENDPOINT"),
              file.endpoints.has_value()});
  // Whether there is one.
  report.add("token", !config->token.empty(), place_of_token(report, file));
  report.add("ca_bundle", config->ca_bundle.empty() ? json() : json(config->ca_bundle),
             {.variable = place_of_bundle(settings), .in_file = file.ca_bundle.has_value()});
  report.add("allow_other", config->allow_other,
             {.flag = given(flags.allow_other, "--allow-other"), .in_file = file.allow_other.has_value()});
  report.add("user_tokens", config->user_tokens ? "files" : "login", {.in_file = file.user_tokens.has_value()});
  report.add("anonymous", config->anonymous, {.in_file = file.anonymous.has_value()});
  report.add("access_ttl", as_seconds(config->access_ttl), {.in_file = file.access_ttl.has_value()});
  report.add("internal_hosts", config->internal_hosts, {.in_file = file.internal_hosts.has_value()});
  // Of HTTP_PROXY and its kin this tells nothing: each is for some addresses alone.
  report.add("proxy", config->proxy.address ? json(without_user(config->proxy.address->reveal())) : json(),
             {.in_file = file.proxy.has_value()});
  report.add("no_proxy", config->proxy.exempt ? json(*config->proxy.exempt) : json(),
             {.in_file = file.no_proxy.has_value()});
  report.add("offline", config->offline,
             {given(flags.offline, "--offline"), report.variable("HF_HUB_OFFLINE"), file.offline.has_value()});
  report.add("offline_partial", config->offline_partial,
             {.flag = given(flags.offline_partial, "--offline-partial"), .in_file = file.offline_partial.has_value()});
  report.add("log_level", kLevelWords.at(static_cast<std::size_t>(config->log_level)),
             {given(flags.log_level, "--log-level"), report.variable("HFFS_LOG"), file.log_level.has_value()});
  report.add("log_file", config->log_file.empty() ? json() : json(config->log_file),
             {.flag = given(flags.log_file, "--log-file"), .in_file = file.log_file.has_value()});
  report.add("ref_ttl", as_seconds(config->ref_ttl),
             {.flag = given(flags.ref_ttl, "--ref-ttl"), .in_file = file.ref_ttl.has_value()});
  report.add("read_deadline", as_seconds(config->read_deadline),
             {.flag = given(flags.read_deadline, "--read-deadline"), .in_file = file.read_deadline.has_value()});
  report.add("sync_interval", as_seconds(config->sync_interval), {.in_file = file.sync_interval.has_value()});
  report.add("prefetch", kPolicyWords.at(static_cast<std::size_t>(config->prefetch)),
             {.flag = given(flags.prefetch, "--prefetch"), .in_file = file.prefetch.has_value()});
  report.add("max_size", config->limits.max_size == 0 ? json() : json(config->limits.max_size),
             {.flag = given(flags.max_size, "--max-size"), .in_file = file.max_size.has_value()});
  report.add("min_free", config->limits.min_free ? json(*config->limits.min_free) : json(),
             {.flag = given(flags.min_free, "--min-free"), .in_file = file.min_free.has_value()});
  report.add("verify", config->strict ? "strict" : "complete",
             {.flag = given(flags.verify, "--verify"), .in_file = file.strict.has_value()});
  constexpr double kDay = 24 * 3'600;
  report.add("scrub", config->scrub.count() == 0 ? json("off") : json(static_cast<double>(config->scrub.count()) / kDay),
             {.in_file = file.scrub.has_value()});
  report.add("status_page", config->status_page.empty() ? json("off") : json(config->status_page),
             {.flag = given(flags.status_page, "--status-page"), .in_file = file.status_page.has_value()});
  report.add("fuse_features", config->old_kernel ? "5.15" : "all", {.in_file = file.old_kernel.has_value()});
  add_policy(report, *config, file);
  return report.take();
}

}  // namespace hffs
