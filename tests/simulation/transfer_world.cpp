// SPDX-License-Identifier: Apache-2.0
#include "transfer_world.h"

#include <algorithm>

namespace hffs::test {
namespace {

using namespace std::chrono_literals;

const std::string kNames[] = {"a/one", "a/two", "b/three"};

TransferOptions options_of(Dice dice) {
  constexpr std::uint64_t kBuffers[] = {1, 2 * kBlockSize, 5 * kBlockSize, 32 * kBlockSize};
  constexpr std::chrono::milliseconds kDeadlines[] = {5s, 30s, 900s};
  return {.read_deadline = kDeadlines[dice.below(3)],
          .blocks_per_request = static_cast<BlockIndex>(dice.between(1, 8)),
          .buffer_bytes = kBuffers[dice.below(4)],
          .requests_in_flight = static_cast<int>(dice.between(1, 8))};
}

}  // namespace

TransferWorld::TransferWorld(Trial& run)
    : run_(run),
      setup_(run.dice(3)),
      options_(options_of(run.dice(4))),
      network_(
          run, [this](auto& attempt, const auto& source) { attempt_begins(attempt, source); },
          [this](auto& attempt, const auto& result) { attempt_ends(attempt, result); }) {
  means_ = {.cancels = setup_.chance(60),
            .ahead = setup_.chance(60),
            .whole = setup_.chance(20),
            .losses = setup_.chance(20),
            .broken_disk = setup_.chance(20),
            .slow_disk = setup_.chance(50),
            .moods = setup_.chance(80),
            .corrupt = setup_.chance(20)};
  network_.whole_percent = means_.whole ? 30 : 0;
  sources_.assign(kNames, kNames + setup_.between(1, 3));
  for (std::uint64_t number = 0; number < setup_.between(1, 4); ++number) {
    const std::uint64_t blocks = setup_.between(1, kMostBlocks);
    const std::uint64_t size = (blocks - 1) * kBlockSize + setup_.between(1, kBlockSize);
    Kept& kept = blobs_.emplace_back();
    kept.blob = std::make_shared<SlowBlob>(run, disk_, number, size);
    kept.blob->may_repeat = means_.whole || means_.losses;
    kept.blocks.resize(blocks);
    for (const auto& name : sources_)
      kept.sources.push_back({*RepoId::parse(RepoType::model, name), *CommitId::parse(std::string(40, 'c')),
                              std::to_string(number), kept.blob->identity().id, size});
    run_.note("blob {}: {} bytes", number, size);
  }
  run_.note("deadline {} s, {} blocks a request, buffer {}, {} slots", options_.read_deadline / 1s,
            options_.blocks_per_request, options_.buffer_bytes, options_.requests_in_flight);
  engine_ = std::make_shared<transfer::Engine>(options_, network_, clock_, metrics_);
}

TransferWorld::~TransferWorld() {
  network_.begin_stopping();
  engine_->stop();
  run_.check(open_ == 0, "invariant 5: {} readers heard nothing though the engine has stopped", open_);
  run_.check(network_.active().empty(), "an attempt is under way though the engine has stopped");
  while (!disk_.empty()) {
    auto write = std::move(disk_.front());
    disk_.pop_front();
    write.done({});
  }
}

bool TransferWorld::somebody_waits(std::size_t blob, BlockIndex block, bool demanded) const {
  return std::ranges::any_of(readers_, [&](const Reader& reader) {
    const BlockRun run = blocks_of(reader.range);
    return reader.open && reader.blob == blob && !(demanded && reader.ahead) && block >= run.first &&
           block < run.end();
  });
}

void TransferWorld::step(Dice& dice) {
  switch (dice.weighted({20, means_.ahead ? 10u : 0, means_.cancels ? 8u : 0, 25, 15, 12, means_.moods ? 6u : 0,
                         means_.losses ? 3u : 0, means_.corrupt ? 2u : 0})) {
    case 0: fetch(dice, false); break;
    case 1: fetch(dice, true); break;
    case 2: {
      if (readers_.empty()) break;
      const std::size_t which = dice.below(readers_.size());
      Reader& reader = readers_[which];
      if (reader.ahead) break;
      reader.stopped = true;
      run_.note("reader {} is interrupted", which);
      std::stop_source(reader.stop).request_stop();
      run_.check(!readers_[which].open, "a reader who was interrupted still waits");
      break;
    }
    case 3: move_network(dice, static_cast<int>(dice.between(1, 12)), dice.between(1, kBlockSize)); break;
    case 4: write_one(dice, true); break;
    case 5: pass_time(dice, std::chrono::milliseconds(dice.chance(70) ? dice.below(1'000) : dice.below(20'000))); break;
    case 6: {
      const std::string& name = dice.pick(sources_);
      const auto mood = static_cast<Mood>(dice.chance(30) ? 0 : dice.below(kMoods));
      run_.note("{} is {}", name, name_of(mood));
      network_.moods[name] = mood;
      break;
    }
    case 7: {
      const std::size_t blob = dice.below(blobs_.size());
      const auto block = static_cast<BlockIndex>(dice.below(blobs_[blob].blocks.size()));
      if (!blobs_[blob].blob->here[block]) break;
      run_.note("block {} of blob {} is lost", block, blob);
      blobs_[blob].blob->here[block] = false;
      blobs_[blob].blocks[block] = {};
      for (Reader& reader : readers_)
        if (reader.open && reader.blob == blob) reader.blocks_lost = true;
      break;
    }
    case 8: {
      Kept& kept = dice.pick(blobs_);
      run_.note("wrong bytes in blob {}", kept.blob->identity().number);
      if (kept.corrupt_times >= options_.corrupt_limit && kept.corrupt_until <= now()) break;  // forgiven when asked
      if (++kept.corrupt_times >= options_.corrupt_limit) kept.corrupt_until = now() + 60s;
      engine().note_corrupt(kept.blob->identity().number);
      break;
    }
  }
  look();
}

void TransferWorld::fetch(Dice& dice, bool ahead) {
  const std::size_t blob = dice.below(blobs_.size());
  const std::uint64_t size = blobs_[blob].size();
  const std::uint64_t offset = dice.below(size);
  const ByteRange range{offset, 1 + dice.below(dice.chance(50) ? 10'000 : 6 * kBlockSize)};
  auto sources = blobs_[blob].sources;
  dice.shuffle(sources);
  begin(blob, clip(range, size), std::move(sources), ahead);
}

std::size_t TransferWorld::begin(std::size_t blob, ByteRange range, std::vector<FileSource> sources, bool ahead) {
  Kept& kept = blobs_[blob];
  const std::size_t number = readers_.size();
  run_.note("reader {}{}: blob {} {}+{}", number, ahead ? " (ahead)" : "", blob, range.offset, range.size);
  const auto missing = kept.blob->missing(range);
  std::uint64_t least = 0, most = 0;  // that may be begun for it
  for (const BlockRun& run : missing)
    for (BlockIndex block = run.first; block != run.end(); ++block) {
      const std::uint64_t bytes = bytes_of(block, kept.size()).size;
      Block& its = kept.blocks[block];
      if (means_.losses || !somebody_waits(blob, block, false)) most += bytes;
      if (its.touched == 0 && kept.blob->writing[block] == 0) least += bytes;
    }
  const bool blocked = kept.corrupt_times >= options_.corrupt_limit && kept.corrupt_until > now();
  if (kept.corrupt_times >= options_.corrupt_limit && !blocked) kept.corrupt_times = 0;
  if (!blocked)
    for (const BlockRun& run : missing)
      for (BlockIndex block = run.first; block != run.end(); ++block) {
        if (kept.blocks[block].touched++ == 0)
          kept.blocks[block].attempted = false;
        else if (!ahead)
          pull(kept, block);
      }
  Reader& reader = readers_.emplace_back();
  reader.blob = blob;
  reader.range = range;
  reader.ahead = ahead;
  reader.deadline = now() + options_.read_deadline;
  ++open_;
  const std::uint64_t begun =
      engine().fetch(kept.blob, std::move(sources), range, ahead ? std::stop_token{} : reader.stop.get_token(),
                     [this, number](Result<void> result) { hear(number, std::move(result)); }, ahead);
  const Reader& its = readers_[number];
  if (blocked) {
    run_.check(!its.open && begun == 0, "wrong bytes came too often, and it is fetched all the same");
    return number;
  }
  run_.check(!missing.empty() || !its.open, "reader {} waits for what is here", number);
  run_.check(begun >= (means_.whole || means_.losses ? 0 : least) && begun <= most,
             "{} bytes are said to be begun for reader {}, between {} and {} are", begun, number, least, most);
  return number;
}

// A reader who comes to wait for a block moves the request that it is in, which is so wide at most.
void TransferWorld::pull(Kept& kept, BlockIndex block) {
  const BlockIndex wide = options_.blocks_per_request - 1;
  for (BlockIndex i = block - std::min(block, wide); i <= block + wide && i < kept.blocks.size(); ++i)
    kept.blocks[i].pulled = true;
}

bool TransferWorld::may_hear(const Reader& reader, Code code) const {
  const Kept& kept = blobs_[reader.blob];
  const BlockRun run = blocks_of(reader.range);
  const auto any = [&](auto is) {
    for (BlockIndex block = run.first; block != run.end(); ++block)
      if (is(kept.blocks[block])) return true;
    return false;
  };
  switch (code) {
    case Code::timed_out: return now() >= reader.deadline || reader.ahead;
    case Code::cancelled: return reader.stopped || network_.cancels_inline || reader.ahead;
    case Code::io: return any([](const Block& block) { return block.broken; });
    case Code::corrupt:
      if (kept.corrupt_times >= options_.corrupt_limit && kept.corrupt_until > now()) return true;
      [[fallthrough]];
    case Code::denied:
    case Code::not_found:
    case Code::needs_login:
      return any([&](const Block& block) { return reader.ahead || block.refused.size() == kept.sources.size(); });
    // Who waits does not hear of what may pass.
    case Code::unreachable:
    case Code::rate_limited: return reader.ahead;
    default: return false;
  }
}

void TransferWorld::hear(std::size_t number, Result<void> result) {
  Reader& reader = readers_[number];
  run_.note("  reader {} hears {}", number, result ? "done" : info(result.error().code).name);
  if (!run_.check(reader.open, "invariant 5: reader {} hears twice", number)) return;
  reader.open = false;
  --open_;
  engine().snapshot();  // invariant 4: with no lock held, or this never returns
  const Kept& kept = blobs_[reader.blob];
  if (result)
    run_.check(reader.blocks_lost || kept.blob->readable(reader.range),
               "reader {} hears that its bytes are here, and they are not", number);
  else
    run_.check(may_hear(reader, result.error().code), "reader {} hears {} without a reason: {}", number,
               info(result.error().code).name, result.error().message);
  if (!result) blobs_[reader.blob].left = true;
}

void TransferWorld::attempt_begins(SlowNetwork::Attempt& attempt, const FileSource&) {
  const std::size_t blob = attempt.blob;
  Kept& kept = blobs_[blob];
  const BlockRun run = blocks_of(attempt.asked);
  const auto slots = static_cast<std::size_t>(options_.requests_in_flight);
  const std::size_t others = network_.active().size();
  run_.check(others < slots, "{} attempts at once, {} are allowed", others + 1, slots);
  bool wanted = false, demanded = false;
  for (BlockIndex block = run.first; block != run.end(); ++block) {
    wanted = wanted || (!kept.blob->here[block] && somebody_waits(blob, block, false));
    demanded = demanded || kept.blocks[block].pulled || somebody_waits(blob, block, true);
  }
  run_.check(wanted || means_.losses, "attempt {} is for bytes that nobody wants", attempt.number);
  if (!means_.losses && !means_.whole) {
    run_.check(!kept.blob->here[run.first] && kept.blob->writing[run.first] == 0,
               "block {} of blob {} is asked for though it has come", run.first, blob);
    for (const auto& other : network_.active()) {
      const BlockRun theirs = blocks_of(other->rest());
      run_.check(other->blob != blob || theirs.count == 0 || theirs.end() <= run.first || theirs.first >= run.end(),
                 "blocks {}+{} of blob {} are asked for by attempt {} and by attempt {}", run.first, run.count,
                 blob, other->number, attempt.number);
    }
  }
  for (BlockIndex block = run.first; block != run.end(); ++block) kept.blocks[block].attempted = true;
  // A request that a reader waited for stays one when he has gone.
  if (demanded || means_.whole || kept.left) return;
  // Nobody waits for it: it takes none of the last quarter, and nobody who waits stands behind it.
  run_.check(others < std::max<std::size_t>(1, slots - slots / 4), "read-ahead takes one of the last slots");
  for (std::size_t i = 0; i < blobs_.size(); ++i)
    for (BlockIndex block = 0; block < blobs_[i].blocks.size(); ++block)
      run_.check(blobs_[i].blocks[block].attempted || blobs_[i].blob->here[block] ||
                     blobs_[i].blob->writing[block] > 0 || !somebody_waits(i, block, true) || means_.losses,
                 "attempt {} is read-ahead, and a reader waits for block {} of blob {}", attempt.number, block, i);
}

void TransferWorld::attempt_ends(SlowNetwork::Attempt& attempt, const Result<void>& result) {
  if (result || info(result.error().code).retry_helps || result.error().code == Code::cancelled) return;
  const BlockRun run = blocks_of(attempt.asked);
  for (BlockIndex block = run.first; block != run.end(); ++block)
    blobs_[attempt.blob].blocks[block].refused.insert(attempt.source);
}

void TransferWorld::write_one(Dice& dice, bool may_break) {
  if (disk_.empty()) return;
  const std::size_t which = dice.below(disk_.size());
  PendingWrite write = std::move(disk_[which]);
  disk_.erase(disk_.begin() + static_cast<long>(which));
  Kept& kept = blobs_[write.blob->identity().number];
  Result<void> result;
  if (may_break && means_.broken_disk && dice.chance(20))
    result = fail(dice.chance(50) ? Code::no_space : Code::io, "the disk");
  const bool readable = result || result.error().code == Code::no_space;
  run_.note("  block {} of blob {} is {}", write.block, kept.blob->identity().number,
            result ? "written" : info(result.error().code).name);
  --write.blob->writing[write.block];
  Block& block = kept.blocks[write.block];
  if (readable) {
    write.blob->here[write.block] = true;
    block = {};
  } else {
    block.broken = true;
    block.touched = 0;
  }
  write.done(std::move(result));
}

void TransferWorld::move_network(Dice& dice, int pieces, std::uint64_t most) {
  for (int i = 0; i < pieces && !network_.active().empty(); ++i) {
    auto active = network_.active();
    network_.deliver(dice.pick(active), most);
  }
}

void TransferWorld::pass_time(Dice& dice, std::chrono::milliseconds time, bool fast) {
  run_.note("{} ms pass", time.count());
  while (time > 0ms && !run_.failed()) {
    const auto piece = std::min<std::chrono::milliseconds>(time, 200ms);
    clock_.advance(piece);
    time -= piece;
    engine().turn();
    for (const Reader& reader : readers_)
      if (reader.open && !run_.check(reader.deadline > now(), "a reader waits beyond his deadline")) return;
    for (const auto& attempt : std::vector(network_.active())) network_.deliver(attempt, fast ? 8 * kBlockSize : kBlockSize / 2);
    while (!disk_.empty() && (!means_.slow_disk || dice.chance(60))) write_one(dice, true);
    look();
  }
}

void TransferWorld::look() {
  const auto seen = engine().snapshot();
  run_.check(seen.waiters == open_, "{} waiters are told of, {} wait", seen.waiters, open_);
  run_.check(seen.requests == network_.active().size(), "{} requests are told of, {} are under way", seen.requests,
             network_.active().size());
  const std::uint64_t most = options_.buffer_bytes + static_cast<std::uint64_t>(options_.requests_in_flight + 1) * kBlockSize;
  run_.check(seen.buffered_bytes <= most, "{} bytes in memory, at most {} may be", seen.buffered_bytes, most);
}

// From now on all is well: whoever waits is served, and nothing is left behind.
void TransferWorld::heal_and_finish() {
  if (run_.failed() || setup_.chance(20)) return;  // the engine ends in the midst of it
  run_.note("all is well from now on");
  for (auto& [name, mood] : network_.moods) mood = Mood::fine;
  for (const auto& attempt : network_.active())
    if (attempt->stalls) attempt->most = ~0ull, attempt->stalls = false;
  network_.whole_percent = 0;
  means_.slow_disk = means_.broken_disk = false;
  Dice dice = run_.dice(5);
  pass_time(dice, 65s, true);  // peers asked for 20 s, corrupt blobs are left alone for 60 s
  for (const Reader& reader : readers_)
    if (!run_.check(!reader.open, "a minute after all is well a reader still waits")) return;
  for (std::size_t blob = 0; blob < blobs_.size(); ++blob) {
    const auto number = begin(blob, {0, blobs_[blob].size()}, blobs_[blob].sources, false);
    pass_time(dice, 30s, true);
    run_.check(!readers_[number].open && blobs_[blob].blob->readable({0, blobs_[blob].size()}),
               "blob {} does not come though all is well", blob);
  }
  const auto seen = engine().snapshot();
  run_.check(seen.waiters == 0 && seen.requests == 0 && seen.buffered_bytes == 0,
             "left behind: {} waiters, {} requests, {} bytes", seen.waiters, seen.requests, seen.buffered_bytes);
}

}  // namespace hffs::test
