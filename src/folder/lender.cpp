// SPDX-License-Identifier: Apache-2.0
//
// The lender's process: it has its user's rights, and does what a Folder may, for who has less.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "hffs/lending.h"
#include "hffs/record.h"
#include "lending.h"

namespace hffs {
namespace lending {
namespace {

constexpr int kFarewell = 1'000;  // ms; a file system that hangs holds up nobody

RecordWriter answer_of(const Result<void>& how) {
  RecordWriter answer(kVersion);
  answer.u8(how ? kFine : static_cast<std::uint8_t>(how.error().code));
  // A path and what is wrong with it, cut where it would fill the message.
  return answer.text(how ? std::string_view() : std::string_view(how.error().message).substr(0, kFullBytes));
}

class Serving {
 public:
  Serving(int socket, const std::string& path, bool plain) : socket_(socket), path_(path), plain_(plain) {}
  // Until the borrower has gone, or says what makes no sense.
  void run();

 private:
  Result<void> answer(Ask what, const std::string& place);
  Result<void> begin();
  Result<void> list(const std::string& place);
  Result<void> say(const RecordWriter& message, int descriptor = -1) {
    return send(socket_, message, descriptor, 0);
  }
  Result<void> say(const Error& error) { return say(answer_of(fail(Error(error)))); }

  const int socket_;
  const std::string& path_;
  const bool plain_;
  std::optional<OpenedFolder> opened_;
};

void Serving::run() {
  while (true) {
    const auto heard = receive(socket_);
    if (!heard) return;
    Reader reader(heard->bytes);
    const auto version = reader.u8(), what = reader.u8();
    const std::string place(reader.text());
    if (!reader.complete() || version != kVersion || what > static_cast<std::uint8_t>(Ask::identity)) return;
    if (!answer(static_cast<Ask>(what), place)) return;
  }
}

Result<void> Serving::begin() {
  auto opened = plain_ ? open_plain(path_) : open_cache(path_);
  if (!opened) return say(opened.error());
  opened_.emplace(std::move(*opened));
  RecordWriter message = answer_of({});
  message.text(opened_->folder.path());
  if (opened_->alone) message.text(opened_->alone->repo.layout()).text(opened_->alone->place);
  return say(message);
}

Result<void> Serving::list(const std::string& place) {
  const auto items = opened_->folder.list(place);
  if (!items) return say(items.error());
  auto next = items->begin();
  do {
    RecordWriter names(kVersion);
    while (next != items->end() && std::string_view(names).size() < kFullBytes) {
      names.u32(next->type).text(next->name);
      ++next;
    }
    RecordWriter message = answer_of({});
    message.u8(next != items->end() ? 1 : 0).text(std::string_view(names).substr(1));
    if (auto said = say(message); !said) return said;
  } while (next != items->end());
  return {};
}

Result<void> Serving::answer(Ask what, const std::string& place) {
  if (what == Ask::begin) return begin();
  if (!opened_) return fail(Code::invalid, "nothing is open");
  switch (what) {
    case Ask::list:
      return list(place);
    case Ask::open_file: {
      const auto file = opened_->folder.open_file(place);
      return file ? say(answer_of({}), file->fd.get()) : say(file.error());
    }
    case Ask::read_link: {
      const auto target = opened_->folder.read_link(place);
      if (!target) return say(target.error());
      RecordWriter message = answer_of({});
      return say(message.text(*target));
    }
    default: {
      const auto found = opened_->folder.identity(place);
      if (!found) return say(found.error());
      RecordWriter message = answer_of({});
      return say(message.u64(found->first).u64(found->second));
    }
  }
}

[[noreturn]] void lend(UniqueFd socket, const std::string& path, bool plain, pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(0);
  // What its user has open beside it is nobody's business here.
  if (socket.get() != 3 && ::dup3(socket.get(), 3, O_CLOEXEC) < 0) ::_exit(1);
  if (socket.get() == 3) (void)socket.release();
  ::close_range(4, ~0u, 0);
  try {
    Serving(3, path, plain).run();
  } catch (...) {
  }
  ::_exit(0);
}

}  // namespace
}  // namespace lending

Result<Lender> Lender::start(const std::string& path, bool plain) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return fail(system_error(errno, "making a pair of sockets"));
  UniqueFd own(ends[0]), end(ends[1]);
  const pid_t self = ::getpid(), child = ::fork();
  if (child < 0) return fail(system_error(errno, "starting the process that lends the folder"));
  if (child == 0) lending::lend(std::move(own), path, plain, self);
  return Lender(child, std::move(own), std::move(end));
}

Lender::~Lender() {
  if (process_ == 0) return;
  // It hears of the end by this; who started it may not have the right to kill it any more.
  ::shutdown(own_.get(), SHUT_RDWR);
  const UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, process_, 0)));
  pollfd ended{process.get(), POLLIN, 0};
  if (::poll(&ended, 1, lending::kFarewell) > 0) (void)::waitpid(process_, nullptr, WNOHANG);
}

}  // namespace hffs
