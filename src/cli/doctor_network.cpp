// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <ctime>
#include <fstream>

#include "doctor.h"
#include "doctor_proxies.h"
#include "hffs/posix.h"
#include "hffs/probe.h"
#include "progress.h"
#include "shell_text.h"

namespace hffs::cli {
namespace {

constexpr std::chrono::seconds kProbeLimit{10}, kAllProbes{11};
// More than this off, and certificates begin to be from tomorrow.
constexpr std::int64_t kMostSkew = 5 * 60;
constexpr std::array<const char*, 3> kBundleVariables{"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"};

bool is_folder(const std::string& endpoint) {
  return endpoint.starts_with("file://");
}

// Certificates

bool holds_certificates(const std::string& path) {
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const std::size_t begin = text.find("-----BEGIN ");
  return begin != std::string::npos && text.find("CERTIFICATE-----", begin) != std::string::npos &&
         text.find("-----END ", begin) != std::string::npos;
}

// The variable that names this bundle; empty: the configuration file does.
std::string variable_of_bundle(const Patient& patient, const std::string& bundle) {
  for (const char* name : kBundleVariables)
    if (const auto value = patient.environment(name); value && (*value == bundle || bundle.ends_with("/" + *value))) return name;
  return {};
}

void check_bundles(const Patient& patient, Checks& checks) {
  for (const char* name : kBundleVariables)
    if (const auto value = patient.environment(name); value && !value->empty() && !exists(*value))
      checks.push_back(doubtful("certificates", fmt::format("{} names {}, which is not there: hffs passes it over, other clients fail",
                                                            name, *value), {.run = unset_line(name, Shell::sh), .who = {}}));
  if (!patient.config || patient.config->ca_bundle.empty()) return;
  const std::string& bundle = patient.config->ca_bundle;
  const std::string name = variable_of_bundle(patient, bundle);
  Remedy remedy{.run = {}, .who = "whose configuration file it is corrects ca_bundle"};
  if (!name.empty()) remedy = {.run = unset_line(name, Shell::sh), .who = {}};
  struct stat found{};
  if (::stat(bundle.c_str(), &found) != 0)
    checks.push_back(bad("certificates", Code::invalid, fmt::format("the CA bundle {} is not there", bundle), remedy));
  else if (::access(bundle.c_str(), R_OK) != 0)
    checks.push_back(bad("certificates", Code::denied, fmt::format("the CA bundle {} cannot be read", bundle), remedy));
  else if (!S_ISDIR(found.st_mode) && !holds_certificates(bundle))
    checks.push_back(bad("certificates", Code::invalid, fmt::format("{} holds no certificate", bundle), remedy));
  else
    checks.push_back(good("certificates", bundle));
}

// Endpoints

std::vector<std::string> list_endpoints(const Patient& patient) {
  std::vector<std::string> endpoints;
  if (patient.status)
    for (const auto& each : patient.status->at("endpoints")) endpoints.push_back(each.at("endpoint"));
  else if (patient.config)
    endpoints = patient.config->endpoints;
  return endpoints;
}

// A proxy is there, and NO_PROXY keeps the endpoint from it.
bool is_exempt(const Patient& patient, const std::string& endpoint) {
  const bool secure = endpoint.starts_with("https");
  if (patient.config && patient.config->proxy.address) return !patient.config->proxy.address->empty();
  for (const char* name : secure ? std::array{"https_proxy", "HTTPS_PROXY"} : std::array{"http_proxy", "HTTP_PROXY"})
    if (const auto value = patient.environment(name); value && !value->empty()) return true;
  return false;
}

std::string way_of(const Patient& patient, const std::string& endpoint, const EndpointProbe& probe) {
  if (!probe.via.empty()) return fmt::format("through the proxy {}", probe.via);
  return fmt::format("directly{}{}{}", is_exempt(patient, endpoint) ? ", as NO_PROXY says" : "", probe.address.empty() ? "" : ", at ",
                     probe.address);
}

struct Cause {
  std::string words;
  std::string who;
};

Cause cause_of(const Patient& patient, const std::string& endpoint, const EndpointProbe& probe) {
  using Step = EndpointProbe::Step;
  const std::string way = way_of(patient, endpoint, probe);
  const std::string runs = "who runs " + endpoint;
  switch (probe.step) {
    case Step::resolve:
      return {"its name is not known: " + probe.why,
              "if it is spelt as meant, who runs this machine's network looks at /etc/resolv.conf and its name server; else name "
              "another --endpoint"};
    case Step::connect:
      return {fmt::format("nobody takes the connection ({}): {}", way, probe.why),
              runs + " starts it again; or who runs this network's firewall lets it out, or names the proxy in HTTPS_PROXY"};
    case Step::secure:
      return {fmt::format("it is not believed ({}): {}", way, probe.why),
              runs + " knows who signed its certificate: name that in ca_bundle of the configuration file, or in REQUESTS_CA_BUNDLE; "
                     "a clock that is wrong looks the same"};
    case Step::answer:
      return {fmt::format("{} ({})", probe.why, way),
              probe.why.find("portal") == std::string::npos
                  ? runs + " looks into its log"
                  : "you log in at the network's portal with a browser; or who wrote the endpoint's address corrects it"};
    default: return {probe.why, "whose configuration it is corrects it"};
  }
}

Code code_of(const EndpointProbe& probe) {
  return probe.step == EndpointProbe::Step::begin ? Code::invalid : Code::unreachable;
}

std::optional<bool> folder_is_there(const std::string& endpoint, Patient& patient) {
  const std::string path = endpoint.substr(std::string("file://").size());
  Aside<bool> look([path] { return exists(path); });
  const auto there = look.wait_until(std::chrono::steady_clock::now() + std::chrono::seconds(2));
  if (!there) patient.hangs = true;
  return there;
}

Check check_folder(const std::string& endpoint, Patient& patient) {
  const auto there = folder_is_there(endpoint, patient);
  if (there.value_or(false)) return good("endpoint", endpoint);
  return bad("endpoint", Code::unreachable, fmt::format("{} {}", endpoint, there ? "is not there" : "hangs"),
             {.run = {}, .who = "who runs its server, or mounts it here, brings it back"});
}

struct Asked {
  std::string endpoint;
  std::optional<EndpointProbe> probe;  // nothing: it did not end
};

// All at once.
std::vector<Asked> ask_all(const std::vector<std::string>& endpoints, Patient& patient) {
  std::vector<std::pair<std::string, Aside<EndpointProbe>>> looks;
  for (const std::string& endpoint : endpoints) {
    if (is_folder(endpoint)) continue;
    ProbeOptions options{.endpoint = endpoint, .user_agent = fmt::format("hffs/{}", HFFS_VERSION), .limit = kProbeLimit};
    if (patient.config) {
      options.token = patient.config->token;
      options.proxy = patient.config->proxy;
      // One that is not there is told of by itself.
      if (exists(patient.config->ca_bundle)) options.ca_bundle = patient.config->ca_bundle;
    }
    looks.emplace_back(endpoint, Aside<EndpointProbe>([options] { return probe_endpoint(options); }));
  }
  const auto end = std::chrono::steady_clock::now() + kAllProbes;
  std::vector<Asked> all;
  for (auto& [endpoint, look] : looks) {
    all.push_back({endpoint, look.wait_until(end)});
    patient.hangs = patient.hangs || !all.back().probe;
  }
  return all;
}

// What the daemon says of an endpoint that answers us.
std::string daemons_trouble(const Patient& patient, const std::string& endpoint) {
  if (!patient.status) return {};
  for (const auto& each : patient.status->at("endpoints"))
    if (each.at("endpoint") == endpoint && !each.at("up").get<bool>()) return each.at("last_error");
  return {};
}

Check check_endpoint(const Patient& patient, const Asked& asked, bool others_answer) {
  const EndpointProbe silent{.step = EndpointProbe::Step::resolve, .why = "the question did not end"};
  const EndpointProbe& probe = asked.probe ? *asked.probe : silent;
  if (!probe.ok()) {
    const Cause cause = cause_of(patient, asked.endpoint, probe);
    const std::string says = fmt::format("{}: {}", asked.endpoint, cause.words);
    if (others_answer) return doubtful("endpoint", says + "; another one answers", {.run = {}, .who = cause.who});
    return bad("endpoint", code_of(probe), says, {.run = {}, .who = cause.who});
  }
  const std::string trouble = daemons_trouble(patient, asked.endpoint);
  if (!trouble.empty())
    return doubtful("endpoint", fmt::format("{} answers here ({}), and the daemon does not reach it: {}", asked.endpoint, way_of(patient, asked.endpoint, probe), trouble),
                    begin_anew(patient, {.before = {}, .without = {},
                                         .by_root = "writes this shell's proxies, if it has any, into /etc/default/hffs"}));
  return good("endpoint", fmt::format("{} answers, {}", asked.endpoint, way_of(patient, asked.endpoint, probe)));
}

void check_clock(const std::vector<Asked>& all, Checks& checks) {
  for (const Asked& each : all) {
    if (!each.probe || !each.probe->date) continue;
    const std::int64_t ahead = std::time(nullptr) - *each.probe->date;
    if (std::abs(ahead) <= kMostSkew) {
      checks.push_back(good("clock", "as " + each.endpoint + " has it"));
      return;
    }
    checks.push_back(doubtful("clock", fmt::format("{} {} {}: certificates will seem to be of another time",
                                                   duration_text(static_cast<std::uint64_t>(std::abs(ahead))),
                                                   ahead > 0 ? "ahead of" : "behind", each.endpoint),
                              {.run = {}, .who = "root sets this machine's clock (timedatectl set-ntp true), if it is not the endpoint's that is wrong"}));
    return;
  }
}

// The token

// One that clients would read, and may not.
std::string unreadable_token(const Patient& patient) {
  const auto home = patient.environment("HOME").value_or("");
  for (const std::string& path : {patient.environment("HF_TOKEN_PATH").value_or(""), patient.environment("HF_HOME").value_or("") + "/token",
                                  patient.environment("XDG_CACHE_HOME").value_or(home + "/.cache") + "/huggingface/token"})
    if (!path.empty() && exists(path) && ::access(path.c_str(), R_OK) != 0) return path;
  return {};
}

Check unusable_token(const Patient& patient) {
  const std::string path = unreadable_token(patient);
  struct stat found{};
  Remedy remedy{.run = {}, .who = "whose token it is makes it readable for you, or you take the setting away"};
  if (patient.environment("HF_TOKEN")) remedy = {.run = "unset HF_TOKEN", .who = {}};
  else if (!path.empty() && ::stat(path.c_str(), &found) == 0 && found.st_uid == ::geteuid())
    remedy = {.run = "chmod u+r " + shell_word(path), .who = {}};
  else if (patient.environment("HF_TOKEN_PATH"))
    remedy = {.run = "unset HF_TOKEN_PATH", .who = {}};
  return bad("token", Code::needs_login, patient.token_error->message, remedy);
}

Check refused_token(const Patient& patient, const std::string& endpoint) {
  const std::string says = fmt::format("{} does not know your token", endpoint);
  for (const char* name : {"HF_TOKEN", "HF_TOKEN_PATH"})
    if (const auto value = patient.environment(name); value && !value->empty())
      return bad("token", Code::needs_login, fmt::format("{} (from {})", says, name),
                 {.run = unset_line(name, Shell::sh), .who = "or you make a new one in the settings of your account"});
  return bad("token", Code::needs_login, says, {.run = {}, .who = fmt::format("you make a new one ({}/settings/tokens), and say "
                                                                              "`hf auth login` or `hffs login`", endpoint)});
}

Check check_token(const Patient& patient, const std::vector<Asked>& all) {
  using Token = EndpointProbe::Token;
  if (patient.token_error) return unusable_token(patient);
  if (patient.config && patient.config->anonymous) return good("token", "none is sent, as `anonymous` says: what is public is there");
  if (!patient.config || patient.config->token.empty()) return good("token", "none: what is public is there");
  for (const Asked& each : all) {
    if (!each.probe || !each.probe->ok()) continue;
    if (each.probe->token == Token::bad) return refused_token(patient, each.endpoint);
    if (each.probe->token == Token::good) return good("token", "of " + each.probe->user);
  }
  return good("token", "there is one; whose it is could not be asked");
}

}  // namespace

Checks check_network(Patient& patient) {
  Checks checks;
  const bool offline = patient.status ? patient.status->at("offline").get<bool>() : patient.config && patient.config->offline;
  const auto endpoints = list_endpoints(patient);
  const auto all = offline ? std::vector<Asked>() : ask_all(endpoints, patient);
  check_clock(all, checks);
  check_proxies(patient, checks);
  check_bundles(patient, checks);
  std::size_t answer = 0;
  for (const Asked& each : all) answer += each.probe && each.probe->ok();
  for (const std::string& each : endpoints)
    if (is_folder(each)) checks.push_back(check_folder(each, patient));
  for (const Asked& each : all) checks.push_back(check_endpoint(patient, each, answer != 0));
  if (offline) checks.push_back(good("endpoint", "none is asked: offline"));
  checks.push_back(check_token(patient, all));
  return checks;
}

}  // namespace hffs::cli
