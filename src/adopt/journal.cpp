// SPDX-License-Identifier: Apache-2.0
#include "journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "hffs/json_text.h"

namespace hffs::adopt {
namespace {

using nlohmann::json;

constexpr std::array<const char*, 6> kSteps{"adopting", "adopted", "undoing",
                                            "undone",   "finishing", "finished"};

std::string encode(const Record& record) {
  const json line{{"step", kSteps[static_cast<std::size_t>(record.step)]},
                  {"cache", record.cache},
                  {"name", record.name},
                  {"target", record.target},
                  {"user", record.user},
                  {"inode", record.inode},
                  {"bytes", record.bytes}};
  return json_text(line) + '\n';
}

// The library makes a number of a boolean, of -1 and of a float of any size; `encode` writes none of these.
template <typename Number>
bool take_number(const json& value, Number& number) {
  if (!value.is_number_unsigned()) return false;
  const auto wide = value.get<std::uint64_t>();
  number = static_cast<Number>(wide);
  return number == wide;
}

std::optional<Record> decode(std::string_view text) {
  const json line = parse_json(text);
  if (!line.is_object()) return {};
  Record record;
  // The library's only way to tell of a member that is missing or of another kind.
  try {
    const std::string step = line.at("step").get<std::string>();
    std::size_t number = 0;
    while (number < kSteps.size() && step != kSteps[number]) ++number;
    if (number == kSteps.size()) return {};
    record.step = static_cast<Step>(number);
    record.cache = line.at("cache").get<std::string>();
    record.name = line.at("name").get<std::string>();
    record.target = line.at("target").get<std::string>();
    if (!take_number(line.at("user"), record.user) || !take_number(line.at("inode"), record.inode) ||
        !take_number(line.at("bytes"), record.bytes))
      return {};
  } catch (const json::exception&) {
    return {};
  }
  return record;
}

}  // namespace

bool is_utf8(const std::string& path) {
  return parse_json(json_text(json(path))) == path;
}

Result<Journal> Journal::open(const std::string& path) {
  Journal journal;
  auto file = system_disk().open(path, O_RDWR | O_CREAT, 0600);
  if (!file) return fail(file);
  journal.file_ = std::move(*file);
  if (::flock(journal.file_.get(), LOCK_EX | LOCK_NB) != 0)
    return fail(Code::busy, "another `hffs adopt` is under way (it has {})", path);
  if (auto synced = system_disk().sync_directory(path.substr(0, path.rfind('/'))); !synced)
    return fail(synced);
  struct stat status{};
  if (::fstat(journal.file_.get(), &status) != 0) return fail(system_error(errno, path));
  std::string text(static_cast<std::size_t>(status.st_size), '\0');
  auto read = system_disk().pread_some(journal.file_.get(), std::as_writable_bytes(std::span(text)), 0);
  if (!read) return fail(read);
  text.resize(*read);
  std::size_t at = 0;
  for (std::size_t end; (end = text.find('\n', at)) != text.npos; at = end + 1) {
    auto record = decode(std::string_view(text).substr(at, end - at));
    if (!record)
      return fail(Code::corrupt,
                  "{} is damaged at byte {}; the originals beside each adopted folder are untouched: "
                  "move the journal away, and put them back by hand",
                  path, at);
    journal.records_[record->path()] = std::move(*record);
  }
  journal.size_ = at;  // what was cut is written over
  if (auto cut = system_disk().truncate(journal.file_.get(), at); !cut) return fail(cut);
  return journal;
}

Result<void> Journal::write(const Record& record) {
  const std::string line = encode(record);
  auto written = system_disk().pwrite_all(file_.get(), std::as_bytes(std::span(line)), size_);
  if (written) written = system_disk().sync_data(file_.get());
  if (!written) return fail(std::move(written.error()).during("the journal of adoptions"));
  size_ += line.size();
  records_[record.path()] = record;
  return {};
}

}  // namespace hffs::adopt
