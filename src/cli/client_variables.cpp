// SPDX-License-Identifier: Apache-2.0
#include "client_variables.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>

namespace hffs::cli {
namespace {

using Harm = VariableFinding::Harm;

struct Known {
  const char* name;
  Harm harm;
  const char* why;
};

// From the sources of huggingface_hub 0.17 to 2.4, transformers 4.41 and 5, datasets 5 and sentence-transformers.
// HF_HUB_DISABLE_SYMLINKS, HF_HUB_ENABLE_HF_TRANSFER and the variables of Xet are about downloads, of which there are none.
constexpr std::array<Known, 15> kKnown{{
    {"HF_HUB_CACHE", Harm::replaced, "names another cache"},
    {"HUGGINGFACE_HUB_CACHE", Harm::replaced, "names another cache, for clients that do not know HF_HUB_CACHE"},
    {"TRANSFORMERS_CACHE", Harm::overrides, "goes before HF_HUB_CACHE in transformers 4"},
    {"PYTORCH_TRANSFORMERS_CACHE", Harm::overrides, "goes before HF_HUB_CACHE in transformers 4"},
    {"PYTORCH_PRETRAINED_BERT_CACHE", Harm::overrides, "goes before HF_HUB_CACHE in transformers 4"},
    {"DIFFUSERS_CACHE", Harm::overrides, "is what programs around diffusers give it as its cache"},
    {"SENTENCE_TRANSFORMERS_HOME", Harm::overrides, "goes before HF_HUB_CACHE in sentence-transformers"},
    {"HF_HOME", Harm::spoils, "puts tokens and Python modules into the mount"},
    {"XDG_CACHE_HOME", Harm::spoils, "puts tokens and Python modules into the mount"},
    {"HF_TOKEN_PATH", Harm::spoils, "looks for the token in the mount"},
    {"HF_MODULES_CACHE", Harm::spoils, "puts Python modules into the mount"},
    {"HF_DATASETS_CACHE", Harm::spoils, "puts prepared tables of datasets into the mount"},
    {"HF_ASSETS_CACHE", Harm::spoils, "puts files of other libraries into the mount"},
    {"HUGGINGFACE_ASSETS_CACHE", Harm::spoils, "puts files of other libraries into the mount"},
    {"HF_XET_CACHE", Harm::spoils, "puts parts of downloads into the mount"},
}};

std::filesystem::path read_path(std::string path, const Environment& environment) {
  if (const auto home = environment("HOME"); home && (path == "~" || path.starts_with("~/"))) path.replace(0, 1, *home);
  std::error_code error;
  auto whole = std::filesystem::absolute(path, error).lexically_normal();
  if (error) return path;
  if (!whole.has_filename() && whole.has_parent_path()) whole = whole.parent_path();
  return whole;
}

bool is_below(const std::filesystem::path& path, const std::filesystem::path& directory) {
  return std::mismatch(directory.begin(), directory.end(), path.begin(), path.end()).first == directory.end();
}

bool lies_in_mount(const std::filesystem::path& path, const std::filesystem::path& mount) {
  if (is_below(path, mount)) return true;
  std::error_code error;
  const auto real = std::filesystem::weakly_canonical(path, error);
  return !error && is_below(real, mount);
}

}  // namespace

std::vector<std::pair<std::string, std::string>> client_variables(const std::string& mount_point, bool offline_clients) {
  std::vector<std::pair<std::string, std::string>> variables{{"HF_HUB_CACHE", mount_point},
                                                             {"HUGGINGFACE_HUB_CACHE", mount_point}};
  if (offline_clients) variables.emplace_back("HF_HUB_OFFLINE", "1");
  return variables;
}

bool is_mount(const std::string& path, const std::string& mount_point, const Environment& environment) {
  const auto read = read_path(path, environment);
  // `hub` in the mount is the mount.
  if (read == mount_point || read == mount_point + "/hub") return true;
  std::error_code error;
  const auto real = std::filesystem::weakly_canonical(read, error);
  if (error) return false;
  const auto mount = std::filesystem::weakly_canonical(mount_point, error);
  return !error && real == mount;
}

void print_findings(const std::vector<VariableFinding>& findings) {
  for (const VariableFinding& each : findings)
    fmt::print(stderr, "hffs: {}={} {}; it is {}\n", each.name, each.value, each.why,
               each.harm == VariableFinding::Harm::replaced ? "replaced" : "unset");
}

std::vector<VariableFinding> find_variables(const Environment& environment, const std::string& mount_point) {
  std::vector<VariableFinding> found;
  for (const Known& each : kKnown) {
    const auto value = environment(each.name);
    if (!value || value->empty()) continue;
    const bool harmless = each.harm == Harm::spoils ? !lies_in_mount(read_path(*value, environment), mount_point)
                                                    : is_mount(*value, mount_point, environment);
    if (!harmless) found.push_back({each.name, *value, each.harm, each.why});
  }
  return found;
}

}  // namespace hffs::cli
