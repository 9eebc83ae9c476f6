// SPDX-License-Identifier: Apache-2.0
#include "hffs/wallet.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <map>
#include <optional>
#include <thread>

#include "hffs/guarded.h"
#include "hffs/telemetry.h"
#include "subordinate.h"

namespace hffs {
namespace {

constexpr std::size_t kMostToken = 4'096;
constexpr char kLooked = '+';  // comes before the token, from who could look for one
constexpr std::size_t kMostReaders = 32;  // at once, all users together; one for each user

class WalletImpl final : public Wallet {
 public:
  WalletImpl(WalletOptions options, const Clock& clock)
      : options_(std::move(options)),
        clock_(clock),
        owners_(access::SubordinateUsers::load(options_.subuid)) {}
  ~WalletImpl() override { stop(); }

  Result<void> start();
  uid_t owner_of(uid_t user) const override { return owners_.owner_of(user); }
  void find(const Caller& caller, Done<Secret> done) override;
  void doubt(uid_t user) override;
  Result<void> keep(uid_t user, const Secret& token) override;
  Result<bool> drop(uid_t user) override;
  void stop() override;

 private:
  // One process that looks, and who waits for it.
  struct Search {
    pid_t process = 0;
    UniqueFd pipe;
    std::string text;
    Instant began{};
    bool late = false;  // nobody waits for it any more; but no other begins before it has ended
    std::uint64_t turn = 0;
    std::vector<Done<Secret>> waiters;
  };
  struct Found {
    Result<Secret> token;
    Instant until{};
  };
  struct State {
    std::map<uid_t, Found> found;
    std::map<uid_t, Search> searches;
    std::map<uid_t, std::uint64_t> turns;  // of each login and logout: what was looked for before counts no more
    bool stopping = false;
  };

  std::string path_of(uid_t user) const { return fmt::format("{}/{}", options_.directory, user); }
  std::optional<Secret> given(uid_t user) const;
  void forget(uid_t user);
  void serve();
  void begin_searches();
  void read_from(uid_t user);
  void end_search(uid_t user, Result<std::string> text);
  void give_up(uid_t user);
  void answer(uid_t user, std::uint64_t turn, const Result<Secret>& token,
              std::vector<Done<Secret>> waiters);
  void wake() const {
    const std::uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof(one));
  }

  const WalletOptions options_;
  const Clock& clock_;
  const access::SubordinateUsers owners_;
  Guarded<State> state_;
  UniqueFd wake_;
  std::jthread thread_;
};

Result<void> WalletImpl::start() {
  wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) return fail(system_error(errno, "making an event descriptor"));
  if (options_.reader) thread_ = std::jthread([this] { serve(); });
  return {};
}

void WalletImpl::stop() {
  state_.lock()->stopping = true;
  wake();
  if (thread_.joinable()) thread_.join();
}

// What the user gave by hand goes before what lies about.
std::optional<Secret> WalletImpl::given(uid_t user) const {
  const UniqueFd file(::open(path_of(user).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return {};
  std::string text(kMostToken, '\0');
  auto count = system_disk().pread_some(file.get(), std::as_writable_bytes(std::span(text)), 0);
  if (!count) return {};
  text.resize(*count);
  auto token = parse_token(std::move(text), "the token that was given");
  if (!token || token->empty()) return {};
  return std::move(*token);
}

void WalletImpl::find(const Caller& caller, Done<Secret> done) {
  if (options_.anonymous) return done(Secret());
  const uid_t user = caller.uid;
  std::uint64_t turn = 0;
  {
    auto state = state_.lock();
    turn = state->turns[user];
    const auto found = state->found.find(user);
    if (found != state->found.end() && clock_.now() < found->second.until) {
      auto token = found->second.token;
      state.unlock();
      return done(std::move(token));
    }
  }
  std::optional<Secret> token;
  if (user != 0) token = given(user);
  // In a container everybody is uid 0: it has no home to look into but the daemon's own settings.
  if (!token && user == options_.own) token = options_.token;
  if (!token && (user == 0 || !options_.reader)) token.emplace();
  {
    auto state = state_.lock();
    const auto search = state->searches.find(user);
    if (token) {
      if (turn == state->turns[user])
        state->found.insert_or_assign(user, Found{*token, clock_.now() + options_.found_ttl});
    } else if (state->stopping || (search != state->searches.end() && search->second.late)) {
      state.unlock();
      return done(fail(Code::timed_out, "the token of user {} could not be read in time", user));
    } else {
      Search& its = state->searches[user];
      if (its.waiters.empty()) its.process = caller.pid, its.turn = turn;
      its.waiters.push_back(std::move(done));
    }
  }
  if (token) return done(std::move(*token));
  wake();
}

void WalletImpl::forget(uid_t user) {
  auto state = state_.lock();
  ++state->turns[user];
  state->found.erase(user);
}

void WalletImpl::doubt(uid_t user) {
  auto state = state_.lock();
  if (const auto found = state->found.find(user); found != state->found.end())
    found->second.until = std::min(found->second.until, clock_.now() + options_.missing_ttl);
}

Result<void> WalletImpl::keep(uid_t user, const Secret& token) {
  Disk& disk = system_disk();
  if (auto made = disk.make_directory(options_.directory, 0700); !made) return made;
  const std::string path = path_of(user), fresh = path + ".new";
  auto file = disk.open(fresh, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (!file) return fail(file);
  if (auto put = disk.pwrite_all(file->get(), std::as_bytes(std::span(token.reveal())), 0); !put) return put;
  if (auto synced = disk.sync_data(file->get()); !synced) return synced;
  if (auto renamed = disk.rename(fresh, path); !renamed) return renamed;
  forget(user);
  return disk.sync_directory(options_.directory);
}

Result<bool> WalletImpl::drop(uid_t user) {
  const bool had = exists(path_of(user));
  if (auto gone = system_disk().remove(path_of(user)); !gone) return fail(gone);
  forget(user);
  return had;
}

void WalletImpl::begin_searches() {
  std::vector<std::pair<uid_t, pid_t>> due;
  {
    auto state = state_.lock();
    std::size_t running = 0;
    for (const auto& [user, search] : state->searches) running += search.pipe && !search.late ? 1 : 0;
    for (const auto& [user, search] : state->searches)
      if (!search.pipe && running + due.size() < kMostReaders) due.emplace_back(user, search.process);
  }
  for (const auto& [user, process] : due) {
    auto pipe = options_.reader(user, process);
    if (!pipe) {
      const Code why = pipe.error().code;
      if (why == Code::unsupported || why == Code::refused) end_search(user, std::string(1, kLooked));
      else end_search(user, fail(pipe));
      continue;
    }
    auto state = state_.lock();
    state->searches[user].pipe = std::move(*pipe);
    state->searches[user].began = clock_.now();
  }
}

void WalletImpl::read_from(uid_t user) {
  std::array<char, kMostToken> bytes;
  std::string text;
  {
    auto state = state_.lock();
    Search& search = state->searches[user];
    const ssize_t count = ::read(search.pipe.get(), bytes.data(), bytes.size());
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count > 0) search.text.append(bytes.data(), static_cast<std::size_t>(count));
    if (count > 0 && search.text.size() < kMostToken) return;
    text = std::move(search.text);
  }
  end_search(user, std::move(text));
}

void WalletImpl::end_search(uid_t user, Result<std::string> text) {
  // Who could not look has not found that there is none.
  Result<Secret> token = fail(Code::io, "the token of user {} could not be looked for", user);
  if (!text) token = fail(text);
  else if (text->starts_with(kLooked)) token = parse_token(text->substr(1), fmt::format("the token of user {}", user));
  if (!token && token.error().code == Code::invalid) {
    log(Level::warn, "access", "{}", token.error().message);
    token = Secret();
  }
  std::vector<Done<Secret>> waiters;
  std::uint64_t turn = 0;
  bool late = false;
  {
    auto state = state_.lock();
    Search& search = state->searches[user];
    waiters = std::move(search.waiters);
    turn = search.turn;
    late = search.late;
    state->searches.erase(user);
  }
  if (!late) answer(user, turn, token, std::move(waiters));
}

// Its process stays as long as it likes, and no other is started for the user meanwhile.
void WalletImpl::give_up(uid_t user) {
  log(Level::warn, "access", "the token of user {} could not be read in time: his home may hang", user);
  std::vector<Done<Secret>> waiters;
  std::uint64_t turn = 0;
  {
    auto state = state_.lock();
    Search& search = state->searches[user];
    search.late = true;
    waiters = std::move(search.waiters);
    turn = search.turn;
  }
  answer(user, turn, fail(Code::timed_out, "the token of user {} could not be read in time", user),
         std::move(waiters));
}

void WalletImpl::answer(uid_t user, std::uint64_t turn, const Result<Secret>& token,
                        std::vector<Done<Secret>> waiters) {
  {
    auto state = state_.lock();
    const bool found = token && !token->empty();
    if (turn == state->turns[user])
      state->found.insert_or_assign(
          user, Found{token, clock_.now() + (found ? options_.found_ttl : options_.missing_ttl)});
  }
  for (auto& done : waiters) done(token);
}

void WalletImpl::serve() {
  ::pthread_setname_np(::pthread_self(), "wallet");
  while (true) {
    begin_searches();
    std::vector<pollfd> watched{{wake_.get(), POLLIN, 0}};
    std::vector<uid_t> users, late;
    bool stopping = false;
    const Instant now = clock_.now();
    {
      auto state = state_.lock();
      stopping = state->stopping;
      for (const auto& [user, search] : state->searches) {
        if (stopping || (search.pipe && !search.late && now - search.began >= options_.patience))
          late.push_back(user);
        else if (search.pipe) {
          watched.push_back({search.pipe.get(), POLLIN, 0});
          users.push_back(user);
        }
      }
    }
    for (const uid_t user : late) {
      if (stopping) end_search(user, fail(Code::cancelled, "shutting down"));
      else give_up(user);
    }
    if (stopping) return;
    if (!late.empty()) continue;
    constexpr int kLook = 100;  // the patience is a matter of seconds
    const bool waiting = std::ranges::any_of(users, [&](uid_t user) { return !state_.lock()->searches[user].late; });
    if (::poll(watched.data(), watched.size(), waiting ? kLook : -1) < 0) continue;
    std::uint64_t rung = 0;
    if (watched[0].revents != 0) (void)!::read(wake_.get(), &rung, sizeof(rung));
    for (std::size_t i = 0; i < users.size(); ++i)
      if (watched[i + 1].revents != 0) read_from(users[i]);
  }
}

}  // namespace

Result<Secret> parse_token(std::string text, std::string_view source) {
  const auto space = [](unsigned char c) { return std::isspace(c) != 0; };
  while (!text.empty() && space(static_cast<unsigned char>(text.back()))) text.pop_back();
  text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), space));
  if (!std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; }))
    return fail(Code::invalid, "{} holds characters that no token has; correct it or take it away",
                source);
  return Secret(std::move(text));
}

Result<std::unique_ptr<Wallet>> Wallet::open(WalletOptions options, const Clock& clock) {
  auto wallet = std::make_unique<WalletImpl>(std::move(options), clock);
  if (auto started = wallet->start(); !started) return fail(started);
  return wallet;
}

}  // namespace hffs
