// SPDX-License-Identifier: Apache-2.0
#include <poll.h>

#include <algorithm>

#include "hffs/lending.h"
#include "hffs/record.h"
#include "lending.h"

namespace hffs {
namespace lending {
namespace {

constexpr int kLookAround = 100;  // ms, for a stop
constexpr std::size_t kMostItems = 4'000'000;  // of a directory

std::unexpected<Error> nonsense() {
  return fail(Code::corrupt, "who lends the folder says what makes no sense");
}

class Borrowed final : public Looker {
 public:
  Borrowed(UniqueFd socket, std::stop_token stop) : socket_(std::move(socket)), stop_(std::move(stop)) {}

  Result<OpenedFolder> begin(const std::shared_ptr<Borrowed>& self);
  Result<std::vector<Item>> list(const std::string& place) override;
  Result<UniqueFd> open_file(const std::string& place) override;
  Result<std::string> read_link(const std::string& place) override;
  Result<Identity> identity(const std::string& place) override;
  Result<void> check() override {
    return gone_ ? fail(Code::cancelled, "who lent the folder has gone") : Result<void>{};
  }

 private:
  struct Answer {
    std::string bytes;
    std::size_t begin = 0;  // of what was asked for
    UniqueFd descriptor;
    Reader reader() const { return Reader(std::string_view(bytes).substr(begin)); }
  };
  Result<Answer> ask(Ask what, const std::string& place);
  Result<Answer> hear();
  // What goes wrong between the two is the end: the next answer would be another question's.
  std::unexpected<Error> end(Error error) {
    gone_ = true;
    return fail(std::move(error));
  }

  const UniqueFd socket_;
  const std::stop_token stop_;
  bool gone_ = false;
};

Result<Borrowed::Answer> Borrowed::hear() {
  while (true) {
    if (stop_.stop_requested()) return end({Code::cancelled, "stopped", {}});
    pollfd watched{socket_.get(), POLLIN, 0};
    if (::poll(&watched, 1, kLookAround) > 0) break;
  }
  auto heard = receive(socket_.get());
  if (!heard) return end(std::move(heard.error()));
  Reader reader(heard->bytes);
  const auto version = reader.u8(), code = reader.u8();
  const std::string_view message = reader.text();
  if (!reader.ok() || version != kVersion || (code != kFine && code >= kCodeCount)) return end(nonsense().error());
  if (code != kFine) return fail(Error{static_cast<Code>(code), std::string(message), {}});
  const std::size_t rest = reader.rest().size(), begin = heard->bytes.size() - rest;
  return Answer{std::move(heard->bytes), begin, std::move(heard->descriptor)};
}

Result<Borrowed::Answer> Borrowed::ask(Ask what, const std::string& place) {
  if (auto there = check(); !there) return fail(there);
  RecordWriter question(kVersion);
  question.u8(static_cast<std::uint8_t>(what)).text(place);
  if (auto sent = send(socket_.get(), question, -1, MSG_DONTWAIT); !sent) return end(std::move(sent.error()));
  return hear();
}

Result<OpenedFolder> Borrowed::begin(const std::shared_ptr<Borrowed>& self) {
  const auto answer = ask(Ask::begin, "");
  if (!answer) return fail(Error(answer.error()));
  Reader reader = answer->reader();
  OpenedFolder opened{Folder(std::string(reader.text()), self), {}};
  if (!reader.ok()) return nonsense();
  if (reader.complete()) return opened;
  const auto repo = RepoId::parse_layout(reader.text());
  const std::string place(reader.text());
  if (!repo || !reader.complete()) return nonsense();
  opened.alone = OpenedFolder::Alone{*repo, place};
  return opened;
}

Result<std::vector<Looker::Item>> Borrowed::list(const std::string& place) {
  std::vector<Item> items;
  auto answer = ask(Ask::list, place);
  while (true) {
    if (!answer) return fail(answer);
    Reader reader = answer->reader();
    const bool more = reader.u8() != 0;
    Reader names(reader.text());
    if (!reader.complete()) return end(nonsense().error());
    while (names.ok() && !names.complete()) {
      const mode_t type = names.u32() & S_IFMT;
      std::string name(names.text());
      // A name, and no path: what is found below it is said to lie there.
      if (!names.ok() || name.empty() || name == "." || name == ".." || name.find('/') != name.npos)
        return end(nonsense().error());
      items.push_back({std::move(name), type});
      if (items.size() > kMostItems) return end({Code::invalid, "a directory has too many names", {}});
    }
    if (!more) return items;
    answer = hear();
  }
}

Result<UniqueFd> Borrowed::open_file(const std::string& place) {
  auto answer = ask(Ask::open_file, place);
  if (!answer) return fail(answer);
  if (!answer->descriptor) return end(nonsense().error());
  return std::move(answer->descriptor);
}

Result<std::string> Borrowed::read_link(const std::string& place) {
  const auto answer = ask(Ask::read_link, place);
  if (!answer) return fail(Error(answer.error()));
  Reader reader = answer->reader();
  std::string target(reader.text());
  if (!reader.complete()) return end(nonsense().error());
  return target;
}

Result<Looker::Identity> Borrowed::identity(const std::string& place) {
  const auto answer = ask(Ask::identity, place);
  if (!answer) return fail(Error(answer.error()));
  Reader reader = answer->reader();
  const Identity found{reader.u64(), reader.u64()};
  if (!reader.complete()) return end(nonsense().error());
  return found;
}

}  // namespace
}  // namespace lending

Result<OpenedFolder> borrow_folder(UniqueFd end, std::stop_token stop) {
  const auto looker = std::make_shared<lending::Borrowed>(std::move(end), std::move(stop));
  return looker->begin(looker);
}

}  // namespace hffs
