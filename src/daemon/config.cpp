// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "hffs/wallet.h"
#include "settings.h"

namespace hffs {
namespace {

constexpr std::string_view kDefaultEndpoint = "https://huggingface.co";
constexpr const char* kSystemConfig = "/etc/hffs/config.toml";
constexpr const char* kSystemStateDir = "/var/lib/hffs";

}  // namespace

std::optional<std::string> Settings::user_directory(std::string_view name,
                                                    std::string_view fallback) const {
  if (auto value = variable(name)) return absolute(*value);
  const auto home = variable("HOME");
  if (!home) return std::nullopt;
  return fmt::format("{}/{}", *home, fallback);
}

std::string Settings::absolute(const std::string& path) const {
  std::string text = path;
  if (const auto home = variable("HOME"); home && (text == "~" || text.starts_with("~/")))
    text.replace(0, 1, *home);
  std::error_code error;
  auto result = std::filesystem::absolute(text, error).string();
  if (error) result = text;
  while (result.size() > 1 && result.ends_with('/')) result.pop_back();
  return result;
}

Result<void> Settings::load_file() {
  std::string path;
  if (flags_.config_file) {
    path = absolute(*flags_.config_file);
  } else if (::geteuid() == 0) {
    path = kSystemConfig;
  } else if (const auto directory = user_directory("XDG_CONFIG_HOME", ".config")) {
    path = *directory + "/hffs/config.toml";
  } else {
    return {};
  }
  auto settings = load_config_file(path);
  if (settings) {
    file_ = std::move(*settings);
    file_path_ = path;
    return {};
  }
  if (settings.error().code == Code::not_found && !flags_.config_file) return {};
  return fail(Code::invalid,
              "the configuration is not usable: {}; correct it, or name another with --config",
              settings.error().message);
}

Result<std::string> Settings::state_dir() const {
  if (flags_.state_dir) return absolute(*flags_.state_dir);
  if (const auto value = variable("HFFS_STATE_DIR")) return absolute(*value);
  if (file_.state_dir) return absolute(*file_.state_dir);
  if (::geteuid() == 0) return std::string(kSystemStateDir);
  if (const auto directory = user_directory("XDG_CACHE_HOME", ".cache"))
    return *directory + "/hffs";
  return fail(Code::invalid, "there is no home directory to keep files in; use --state-dir DIR");
}

Result<std::vector<std::string>> Settings::endpoints() const {
  std::vector<std::string> given = flags_.endpoints;
  std::string_view source = "--endpoint";
  if (given.empty()) {
    if (const auto value = variable("HF_ENDPOINT")) {
      given = {*value};
      source = "HF_ENDPOINT";
    } else if (file_.endpoints) {
      return *file_.endpoints;
    } else {
      return std::vector<std::string>{std::string(kDefaultEndpoint)};
    }
  }
  for (std::string& endpoint : given) {
    auto parsed = parse_endpoint(endpoint);
    if (!parsed) return fail(std::move(parsed.error()).during(source));
    endpoint = std::move(*parsed);
  }
  return given;
}


namespace {

Result<Secret> load_token(const std::string& path, bool must_exist) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    if (errno == ENOENT && !must_exist) return Secret();
    return fail(
        Code::invalid, "{}; make it readable, or take the setting away",
        system_error(errno != 0 ? errno : EIO, fmt::format("the token file {}", path)).message);
  }
  constexpr std::size_t kMostBytes = 4'096;
  std::string text(kMostBytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return parse_token(std::move(text), path);
}

}  // namespace

// Where the Hub's own clients look, and in between the file that the configuration names.
Result<Secret> Settings::token() const {
  if (file_.anonymous.value_or(false)) return Secret();
  if (auto value = variable("HF_TOKEN")) return parse_token(std::move(*value), "HF_TOKEN");
  if (const auto path = variable("HF_TOKEN_PATH")) return load_token(absolute(*path), false);
  if (file_.token_file) return load_token(absolute(*file_.token_file), true);
  if (const auto home = variable("HF_HOME")) {
    // A worker that looked into its own mount would wait for itself.
    if (flags_.worker_of && (absolute(*home) + "/").starts_with(*flags_.worker_of + "/")) return Secret();
    return load_token(absolute(*home) + "/token", false);
  }
  if (const auto cache = user_directory("XDG_CACHE_HOME", ".cache"))
    return load_token(*cache + "/huggingface/token", false);
  return Secret();
}

// The variables in the order of the Python clients (requests): whoever set one for them set it for us. One
// that leads nowhere is often left over from elsewhere.
std::string Settings::ca_bundle() const {
  std::error_code error;
  for (const char* name : {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"})
    if (const auto path = variable(name); path && std::filesystem::exists(absolute(*path), error))
      return absolute(*path);
  return file_.ca_bundle ? absolute(*file_.ca_bundle) : "";
}

Result<bool> Settings::offline() const {
  if (flags_.offline) return *flags_.offline;
  if (auto value = variable("HF_HUB_OFFLINE")) {
    std::transform(value->begin(), value->end(), value->begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return *value == "1" || *value == "true" || *value == "yes" || *value == "on";
  }
  return file_.offline.value_or(false);
}

Result<Level> Settings::log_level() const {
  std::optional<std::string> text = flags_.log_level;
  std::string_view source = "--log-level";
  if (!text) {
    text = variable("HFFS_LOG");
    source = "HFFS_LOG";
  }
  if (!text) return file_.log_level.value_or(Level::info);
  if (const auto level = parse_level(*text)) return *level;
  return fail(Code::invalid, "{}: '{}' is not a level; use debug, info, warn or error", source,
              *text);
}

Result<PrefetchPolicy> Settings::prefetch() const {
  if (!flags_.prefetch) return file_.prefetch.value_or(PrefetchPolicy::adaptive);
  if (const auto policy = parse_prefetch(*flags_.prefetch)) return *policy;
  return fail(Code::invalid,
              "--prefetch: '{}' is not a policy; use off, adaptive, file or snapshot",
              *flags_.prefetch);
}

Result<bool> Settings::strict() const {
  if (!flags_.verify) return file_.strict.value_or(false);
  if (const auto strict = parse_strict(*flags_.verify)) return *strict;
  return fail(Code::invalid, "--verify: '{}' is neither complete nor strict", *flags_.verify);
}

Result<std::string> Settings::status_page() const {
  if (!flags_.status_page) return file_.status_page.value_or("");
  auto address = parse_status_page(*flags_.status_page);
  if (!address) return fail(Code::invalid, "--status-page: {}", address.error().message);
  return address;
}

namespace {

Result<std::optional<std::uint64_t>> choose_size(std::string_view flag_name,
                                                 const std::optional<std::string>& flag,
                                                 const std::optional<std::uint64_t>& in_file) {
  if (!flag) return in_file;
  auto size = parse_size(*flag);
  if (!size) return fail(std::move(size.error()).during(flag_name));
  return *size;
}

Result<std::chrono::milliseconds> choose_seconds(
    std::string_view flag_name, const std::optional<double>& flag,
    const std::optional<std::chrono::milliseconds>& in_file, std::chrono::milliseconds otherwise) {
  if (!flag) return in_file.value_or(otherwise);
  if (const auto duration = parse_seconds(*flag)) return *duration;
  return fail(Code::invalid, "{} must be a number of seconds, 0 or more", flag_name);
}

// The daemon would wait for itself.
Result<void> check_apart(const Config& config, bool is_worker) {
  if (config.mount_point.empty()) return {};  // a command that mounts nothing
  std::error_code error;
  // A worker has it as it is, and must not look: nobody serves it yet.
  const std::filesystem::path given = config.mount_point;
  const auto mount = is_worker ? given : std::filesystem::weakly_canonical(given, error);
  if (error) return {};
  for (const std::string& endpoint : config.endpoints) {
    // By the name alone: a folder's server may hang.
    const auto folder = std::filesystem::path(endpoint.substr(endpoint.find("://") + 3));
    const auto [own, below] = std::mismatch(mount.begin(), mount.end(), folder.begin(), folder.end());
    if (endpoint.starts_with("file://") && own == mount.end())
      return fail(Code::invalid, "the folder {} lies in the mount point {}", folder.string(),
                  config.mount_point);
  }
  const auto state = std::filesystem::weakly_canonical(config.state_dir, error);
  if (error) return {};
  const auto store = state / "hffs-v1";
  if (std::mismatch(store.begin(), store.end(), mount.begin(), mount.end()).first == store.end())
    return fail(Code::invalid, "the mount point {} lies in the store of {}; choose another place for it", config.mount_point,
                config.state_dir);
  const auto [end, rest] = std::mismatch(mount.begin(), mount.end(), state.begin(), state.end());
  if (end != mount.end()) return {};
  return fail(Code::invalid,
              "the state directory {} lies in the mount point {}; choose another --state-dir",
              config.state_dir, config.mount_point);
}

}  // namespace

Environment process_environment() {
  return [](std::string_view name) -> std::optional<std::string> {
    const char* value = std::getenv(std::string(name).c_str());
    return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
  };
}

Result<std::string> load_state_dir(const Flags& flags, const Environment& environment) {
  Settings settings(flags, environment);
  if (auto loaded = settings.load_file(); !loaded) return fail(loaded);
  return settings.state_dir();
}

Result<Config> load_config(const Flags& flags, const Environment& environment) {
  Settings settings(flags, environment);
  if (auto loaded = settings.load_file(); !loaded) return fail(loaded);
  const FileSettings& file = settings.file();
  auto state_dir = settings.state_dir();
  if (!state_dir) return fail(state_dir);
  auto endpoints = settings.endpoints();
  if (!endpoints) return fail(endpoints);
  auto token = settings.token();
  if (!token) return fail(token);
  const auto offline = settings.offline();
  auto prefetch = settings.prefetch();
  if (!prefetch) return fail(prefetch);
  const auto strict = settings.strict();
  if (!strict) return fail(Error(strict.error()));
  auto status_page = settings.status_page();
  if (!status_page) return fail(status_page);
  auto level = settings.log_level();
  if (!level) return fail(level);

  Config config;
  config.user = ::geteuid();
  config.group = ::getegid();
  auto ref_ttl = choose_seconds("--ref-ttl", flags.ref_ttl, file.ref_ttl, config.ref_ttl);
  if (!ref_ttl) return fail(ref_ttl);
  auto read_deadline = choose_seconds("--read-deadline", flags.read_deadline, file.read_deadline,
                                      config.read_deadline);
  if (!read_deadline) return fail(read_deadline);
  auto max_size = choose_size("--max-size", flags.max_size, file.max_size);
  if (!max_size) return fail(max_size);
  auto min_free = choose_size("--min-free", flags.min_free, file.min_free);
  if (!min_free) return fail(min_free);
  config.limits = {.max_size = max_size->value_or(0), .min_free = *min_free};
  config.mount_point = flags.worker_of ? *flags.worker_of : settings.absolute(flags.mount_point);
  config.source = flags.source.value_or(config.source);
  config.state_dir = std::move(*state_dir);
  config.endpoints = std::move(*endpoints);
  config.token = std::move(*token);
  config.ca_bundle = settings.ca_bundle();
  config.internal_hosts = file.internal_hosts.value_or(config.internal_hosts);
  if (file.proxy) config.proxy.address = Secret(*file.proxy);
  config.proxy.exempt = file.no_proxy;
  config.allow_other = flags.allow_other.value_or(file.allow_other.value_or(false));
  config.user_tokens = file.user_tokens.value_or(config.user_tokens);
  config.anonymous = file.anonymous.value_or(config.anonymous);
  config.access_ttl = file.access_ttl.value_or(config.access_ttl);
  config.offline = *offline;
  config.offline_partial = flags.offline_partial.value_or(file.offline_partial.value_or(false));
  config.foreground = flags.foreground;
  config.log_level = *level;
  config.prefetch = *prefetch;
  config.strict = *strict;
  config.scrub = file.scrub.value_or(config.scrub);
  config.policy.allow = file.allow;
  config.policy.deny = file.deny.value_or(config.policy.deny);
  config.policy.no_fetch = file.no_fetch.value_or(config.policy.no_fetch);
  config.budget.user_bytes = file.user_bytes.value_or(config.budget.user_bytes);
  config.budget.total_bytes = file.total_bytes.value_or(config.budget.total_bytes);
  config.budget.user_requests = file.user_requests.value_or(config.budget.user_requests);
  config.budget.total_requests = file.total_requests.value_or(config.budget.total_requests);
  config.user_size = file.user_size.value_or(config.user_size);
  config.user_files = file.user_files.value_or(config.user_files);
  config.total_size = file.total_size.value_or(config.total_size);
  config.total_files = file.total_files.value_or(config.total_files);
  if (const auto& log_file = flags.log_file ? flags.log_file : file.log_file)
    config.log_file = settings.absolute(*log_file);
  config.ref_ttl = *ref_ttl;
  config.read_deadline = *read_deadline;
  config.status_page = std::move(*status_page);
  config.page_socket = flags.page_socket.value_or(config.page_socket);
  config.page_address = flags.page_address.value_or(config.page_address);
  config.old_kernel = file.old_kernel.value_or(false);
  config.sync_interval = file.sync_interval.value_or(config.sync_interval);
  if (auto apart = check_apart(config, flags.worker_of.has_value()); !apart) return fail(apart);
  return config;
}

}  // namespace hffs
