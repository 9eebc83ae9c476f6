// SPDX-License-Identifier: Apache-2.0
//
// Files that people edit, or that come from elsewhere. An input: a letter ('c': the configuration, 'l': a lock file,
// 'j': the journal of adoptions), and the file.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "config_file.h"
#include "fuzz.h"
#include "hffs/bounds.h"
#include "hffs/ids.h"
#include "hffs/posix.h"
#include "journal.h"
#include "lock_file.h"

using namespace hffs;

FUZZ_QUIET()

namespace {

// On a disk in memory where there is one.
class Scratch {
 public:
  Scratch() { MUST(::mkdtemp(path_.data()) != nullptr); }
  ~Scratch() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_ = std::filesystem::exists("/dev/shm") ? "/dev/shm/hffs-fuzz-XXXXXX" : "/tmp/hffs-fuzz-XXXXXX";
};

const std::string& scratch() {
  static const Scratch made;
  return made.path();
}

std::string write_file(std::string_view text) {
  const std::string path = scratch() + "/file";
  UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  MUST(::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  return path;
}

void check_config(std::string_view text) {
  const auto settings = parse_config_file(text, "config.toml");
  if (!settings) {
    MUST(settings.error().code == Code::invalid && settings.error().message.starts_with("config.toml:"));
    return;
  }
  for (const auto* duration : {&settings->ref_ttl, &settings->read_deadline, &settings->sync_interval, &settings->access_ttl})
    MUST(!*duration || (*duration)->count() >= 0);
  MUST(!settings->scrub || settings->scrub->count() >= 0);
  for (const auto* each : {&settings->state_dir, &settings->token_file, &settings->ca_bundle, &settings->log_file})
    MUST(!*each || !(*each)->empty());
  if (settings->endpoints)
    for (const auto& endpoint : *settings->endpoints) {
      MUST(!endpoint.ends_with('/') || endpoint.starts_with("file:"));
      MUST(parse_endpoint(endpoint) == endpoint);
    }
  if (settings->status_page && !settings->status_page->empty())
    MUST(parse_status_page(*settings->status_page) == *settings->status_page);
}

void check_lock(std::string_view text) {
  const auto repos = cli::load_lock_file(write_file(text));
  if (!repos) return;
  for (const auto& repo : *repos) {
    MUST(RepoId::parse_user(repo.at("repo").get<std::string>()));
    MUST(CommitId::parse(repo.at("commit").get<std::string>()));
    for (const auto& ref : repo.at("refs")) MUST(fuzz::is_safe_path(ref.get<std::string>()));
    for (const auto& file : repo.at("files")) {
      MUST(fuzz::is_safe_path(file.at("path").get<std::string>()));
      MUST(BlobId::parse(file.at("hash").get<std::string>()));
    }
  }
  const std::string path = scratch() + "/again";
  MUST(cli::write_lock_file(*repos, path));
  MUST(cli::load_lock_file(path) == *repos);
}

void check_journal(std::string_view text) {
  const std::string path = write_file(text);
  std::map<std::string, adopt::Record> before;
  {
    auto journal = adopt::Journal::open(path);
    if (!journal) {
      MUST(journal.error().code == Code::corrupt);
      return;
    }
    before = journal->records();
    for (const auto& [name, record] : before) {
      MUST(record.path() == name && record.step <= adopt::Step::finished);
      if (adopt::is_utf8(record.cache) && adopt::is_utf8(record.name) && adopt::is_utf8(record.target))
        MUST(journal->write(record));
    }
  }
  auto again = adopt::Journal::open(path);
  MUST(again && again->records().size() == before.size());
  for (const auto& [name, record] : again->records()) {
    const auto& was = before.at(name);
    MUST(was.step == record.step && was.target == record.target && was.user == record.user && was.bytes == record.bytes);
  }
}

}  // namespace

FUZZ_TARGET(input) {
  const std::uint8_t which = input.byte();
  const auto text = input.rest();
  if (which == 'l') return check_lock(text);
  if (which == 'j') return check_journal(text);
  check_config(text);
}
