// SPDX-License-Identifier: Apache-2.0
//
// The simulated network of transfer: attempts that deliver when they are told to, and as their source is in the
// mood to. Threads: one; nothing is called back from within a call.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "hffs/hub.h"
#include "transfer_disk.h"

namespace hffs::test {

enum class Mood { fine, down, refusing, limiting, stalling, cutting, late };
inline constexpr int kMoods = 7;
inline const char* name_of(Mood mood) {
  constexpr const char* kNames[] = {"fine", "down", "refusing", "limiting", "stalling", "cutting", "late"};
  return kNames[static_cast<int>(mood)];
}

class SlowNetwork final : public Origin {
 public:
  struct Attempt final : RangeFetch {
    int number = 0;
    std::uint64_t blob = 0;
    std::string source;
    ByteRange asked, out;
    std::uint64_t sent = 0;
    std::shared_ptr<RangeSink> sink;
    // Its fate, drawn at its begin.
    std::uint64_t most = ~0ull;       // bytes before it ends
    std::optional<Error> error;       // … and how; nothing: as if all were well
    bool stalls = false;              // … or it does not end at all
    bool silent_start = false;        // no on_start
    bool started = false, paused = false, cancelled = false, over = false;
    std::function<void()> on_cancel;  // called in it
    void resume() override { paused = false; }
    void cancel() override {
      cancelled = true;
      if (on_cancel) on_cancel();
    }
    // What it will still deliver of what was asked for.
    ByteRange rest() const {
      const std::uint64_t from = std::max(asked.offset, out.offset + sent);
      return {from, asked.end() > from ? asked.end() - from : 0};
    }
  };
  using Begun = std::function<void(Attempt&, const FileSource&)>;
  using Ended = std::function<void(Attempt&, const Result<void>&)>;

  SlowNetwork(Trial& run, Begun begun, Ended ended)
      : run_(run), begun_(std::move(begun)), ended_(std::move(ended)) {}

  std::map<std::string, Mood> moods;  // by repository
  unsigned whole_percent = 0;         // of the answers begin too early, and go to the end
  bool cancels_inline = false;        // once the engine stops, nobody else delivers
  const std::vector<std::shared_ptr<Attempt>>& active() const { return active_; }
  int attempts() const { return attempts_; }

  std::shared_ptr<RangeFetch> fetch_range(const FileSource& file, ByteRange range,
                                          std::shared_ptr<RangeSink> sink) override {
    auto attempt = std::make_shared<Attempt>();
    attempt->number = attempts_++;
    attempt->blob = std::stoull(file.path);
    attempt->source = file.repo.text();
    attempt->asked = attempt->out = range;
    attempt->sink = std::move(sink);
    run_.note("  attempt {}: blob {} {}+{} of {}", attempt->number, attempt->blob, range.offset, range.size,
              attempt->source);
    run_.check(range.size > 0 && range.end() <= file.size, "attempt {} asks for {}+{} of {} bytes",
               attempt->number, range.offset, range.size, file.size);
    draw_fate(*attempt, file);
    begun_(*attempt, file);
    active_.push_back(attempt);
    if (cancels_inline) attempt->on_cancel = [this, weak = std::weak_ptr(attempt)] { end_now(weak.lock()); };
    return attempt;
  }

  // One piece of `attempt`, at most so many bytes, or its end. False: it waits for something.
  bool deliver(const std::shared_ptr<Attempt>& attempt, std::uint64_t most) {
    if (attempt->over || (attempt->paused && !attempt->cancelled)) return false;
    if (attempt->cancelled) return end(attempt, fail(Code::cancelled, "cancelled")), true;
    const bool spent = attempt->sent >= std::min(attempt->most, attempt->out.size);
    if (spent && attempt->stalls) return false;
    if (!attempt->started && !(attempt->silent_start && spent)) {
      attempt->started = true;
      attempt->sink->on_start(attempt->out);
    }
    if (spent) {
      if (attempt->error) return end(attempt, fail(Error(*attempt->error))), true;
      return end(attempt, {}), true;
    }
    const std::uint64_t count = std::min({most, attempt->out.size - attempt->sent, attempt->most - attempt->sent});
    const std::uint64_t offset = attempt->out.offset + attempt->sent;
    const Flow flow = attempt->sink->on_data(offset, content_of(attempt->blob, {offset, count}));
    if (flow == Flow::pause) attempt->paused = true;
    if (flow == Flow::more) attempt->sent += count;
    if (flow == Flow::stop) end(attempt, fail(Code::cancelled, "stopped"));
    return flow != Flow::pause;
  }

  // While the engine stops, on_done comes from within cancel().
  void begin_stopping() {
    cancels_inline = true;
    for (const auto& attempt : active_)
      attempt->on_cancel = [this, weak = std::weak_ptr(attempt)] { end_now(weak.lock()); };
  }

  void fetch_revision(const RepoId&, const std::string&, Done<RepoInfo>) override {}
  void fetch_tree_page(const RepoId&, const CommitId&, const std::string&, Done<TreePage>) override {}
  void fetch_paths(const RepoId&, const CommitId&, std::vector<std::string>,
                   Done<std::vector<TreeEntry>>) override {}
  void fetch_refs(const RepoId&, Done<RefList>) override {}
  std::vector<Health> health() const override { return {}; }

 private:
  void end_now(const std::shared_ptr<Attempt>& attempt) {
    if (attempt && !attempt->over) end(attempt, fail(Code::cancelled, "cancelled"));
  }

  void end(const std::shared_ptr<Attempt>& attempt, Result<void> result) {
    run_.note("  attempt {} ends after {} bytes: {}", attempt->number, attempt->sent,
              result ? "done" : info(result.error().code).name);
    attempt->over = true;
    std::erase(active_, attempt);
    ended_(*attempt, result);
    attempt->sink->on_done(std::move(result));
    attempt->sink.reset();
  }

  void draw_fate(Attempt& attempt, const FileSource& file) {
    Dice dice = run_.dice(2, static_cast<std::uint64_t>(attempt.number));
    if (dice.chance(whole_percent)) {
      // From byte 0, or from somewhere before what was asked for, in the middle of a block.
      const std::uint64_t begin = dice.chance(60) ? 0 : dice.below(attempt.asked.offset + 1);
      attempt.out = {begin, file.size - begin};
    }
    // Now and then an answer breaks for no reason that lasts.
    const Mood mood = moods[attempt.source];
    const std::uint64_t some = dice.below(attempt.out.size + 1);
    attempt.silent_start = dice.chance(50);
    switch (mood) {
      case Mood::fine: break;
      case Mood::down:
        attempt.most = dice.chance(70) ? 0 : some;
        attempt.error = Error{dice.chance(50) ? Code::unreachable : Code::timed_out, "down", {}};
        break;
      case Mood::refusing: {
        constexpr Code kCodes[] = {Code::denied, Code::not_found, Code::needs_login, Code::corrupt};
        attempt.most = 0;
        attempt.error = Error{kCodes[dice.below(4)], "refused", {}};
        break;
      }
      case Mood::limiting:
        attempt.most = 0;
        attempt.error = Error{Code::rate_limited, "slow down", std::chrono::milliseconds(dice.below(20'000))};
        break;
      case Mood::stalling:
        attempt.most = dice.chance(50) ? 0 : some;
        attempt.stalls = dice.chance(70);
        break;
      case Mood::cutting:
        attempt.most = some;
        if (dice.chance(50)) attempt.error = Error{Code::unreachable, "reset", {}};
        break;
      case Mood::late:
        if (dice.chance(50) && attempt.out.size > 1) {
          attempt.out.offset += 1;
          attempt.out.size -= 1;
        }
        break;
    }
  }

  Trial& run_;
  const Begun begun_;
  const Ended ended_;
  std::vector<std::shared_ptr<Attempt>> active_;
  int attempts_ = 0;
};

}  // namespace hffs::test
