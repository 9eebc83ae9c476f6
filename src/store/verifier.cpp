// SPDX-License-Identifier: Apache-2.0
#include "verifier.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <future>

#include "store_thread.h"

namespace hffs {
namespace {

// One turn: about 40 ms of SHA-256, the longest that a small finished blob waits for each large
// one.
constexpr std::uint64_t kBytesPerTurn = std::uint64_t{64} << 20;
constexpr int kNice = 10;
// A look at a file costs microseconds, or a seek.
constexpr std::size_t kFilesPerTurn = 64;

}  // namespace

Verifier::Verifier(Options options, Settler::Parts parts, Evictor& evictor)
    : try_again_after_(options.try_again),
      parts_(parts),
      evictor_(evictor),
      settler_(parts),
      buffer_(kBlockSize) {
  if (!options.held.empty()) jobs_.push_back({.look_at = std::move(options.held)});
  if (!options.unverified.empty())
    jobs_.push_back({.unverified = std::move(options.unverified)});
  thread_ = start_store_thread("hffs-verify", [this] {
    // Where processors are short the readers come first: hashing what has come can wait.
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kNice);
    run();
  });
}

bool Verifier::push(Job job) {
  const std::lock_guard lock(mutex_);
  if (stopping_) return false;
  jobs_.push_back(std::move(job));
  wake_.notify_one();
  return true;
}

void Verifier::note(const std::shared_ptr<BlobFile>& blob) {
  if (!blob->queued_to_verify.exchange(true)) push({.blob = blob});
}

void Verifier::import_file(std::uint64_t number, std::string path, Done<void> done) {
  {
    const std::lock_guard lock(mutex_);
    if (!stopping_) {
      jobs_.push_back({.import = std::make_unique<Import>()});
      Import& import = *jobs_.back().import;
      import.number = number;
      import.path = std::move(path);
      import.done = std::move(done);
      wake_.notify_one();
      return;
    }
  }
  done(fail(Code::cancelled, "the store is being closed"));
}

Result<void> Verifier::drain() {
  std::promise<Result<void>> reached;
  const bool pushed = push({.task = [&] {
    settler_.commit();
    const auto stuck = settler_.stuck();
    reached.set_value(stuck ? fail(*stuck) : Result<void>{});
  }});
  if (!pushed) return fail(Code::cancelled, "the store is being closed");
  return reached.get_future().get();
}

void Verifier::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void Verifier::run() {
  while (auto job = next()) {
    perform(std::move(*job));
    if (settler_.batch_is_due()) settler_.commit();
  }
  settler_.commit();
}

// Nullopt: stopped, and nothing is left. Commits the verdicts before it waits.
std::optional<Verifier::Job> Verifier::next() {
  while (true) {
    try_again();
    std::unique_lock lock(mutex_);
    if (!jobs_.empty()) {
      Job job = std::move(jobs_.front());
      jobs_.pop_front();
      return job;
    }
    if (stopping_) return std::nullopt;
    lock.unlock();
    settler_.commit();
    lock.lock();
    const auto ready = [&] { return stopping_ || !jobs_.empty(); };
    // Commits that fail are only seen here after a while: a failure is rare, a wait costs nothing.
    wake_.wait_for(lock, try_again_after_, ready);
  }
}

// However busy the thread is: what waits here would otherwise wait for an idle moment.
void Verifier::try_again() {
  const auto now = std::chrono::steady_clock::now();
  if (now < try_again_at_) return;
  try_again_at_ = now + try_again_after_;
  for (const auto& blob : std::exchange(later_, {})) note(blob);
  if (settler_.stuck()) settler_.commit();
}

void Verifier::perform(Job job) {
  if (job.task) return job.task();
  if (job.import) return advance_import(std::move(job.import));
  if (!job.look_at.empty()) return look_at(std::move(job));
  if (!job.blob) return go_through(std::move(job));
  advance(job.blob);
}

// Takes turns with all others, so that what has just come does not wait for what was here.
void Verifier::go_through(Job job) {
  const auto& now = job.current;
  const bool busy = now && now->hashing && now->blocks().full() && !now->superseded();
  if (!busy) {
    if (job.unverified.empty()) return;
    auto opened = parts_.blobs.open(job.unverified.back());
    if (opened)
      advance(job.current = std::move(*opened));
    else
      log(Level::warn, "store", "blob {} stays unverified: {}", job.unverified.back(),
          opened.error().message);
    job.unverified.pop_back();
  }
  push(std::move(job));
}

// Opening a damaged one heals it.
void Verifier::look_at(Job job) {
  auto& numbers = job.look_at;
  for (std::size_t i = 0; i < kFilesPerTurn && !numbers.empty(); ++i, numbers.pop_back())
    if (parts_.blobs.is_damaged(numbers.back())) (void)parts_.blobs.open(numbers.back());
  if (!numbers.empty()) push(std::move(job));
}

template <class Have, class Read>
Result<void> Verifier::hash_on(Hashing& hashing, std::uint64_t size, Have have, Read read) {
  const std::uint64_t turn_ends = std::min(size, hashing.position + kBytesPerTurn);
  while (hashing.position < turn_ends && have(hashing.position)) {
    const auto part =
        std::span(buffer_).first(std::min<std::uint64_t>(kBlockSize, size - hashing.position));
    auto count = read(hashing.position, part);
    if (!count) return fail(count);
    if (*count != part.size())
      return fail(Code::corrupt, "the file ends at byte {}", hashing.position + *count);
    if (auto fed = hashing.hash.update(part); !fed) return fed;
    hashing.position += part.size();
  }
  return {};
}

void Verifier::advance(const std::shared_ptr<BlobFile>& blob) {
  blob->queued_to_verify.exchange(false);
  const BlobInfo& info = blob->identity();
  if (blob->lost()) return settler_.give_up(blob);
  if (blob->superseded() || info.verified || info.size == 0) return;
  // What was here before would have to come from the disk; that can wait until it is all there.
  if (blob->resumed() && !blob->blocks().full()) return;
  if (!blob->hashing || blob->hashing->failed_syncs != blob->failed_syncs()) {
    const std::uint64_t failed_syncs = blob->failed_syncs();
    auto hash = ContentHash::start(info.id.kind(), info.size);
    if (!hash) return try_again_later(blob, hash.error());
    blob->hashing = std::make_unique<Hashing>(Hashing{std::move(*hash), 0, failed_syncs});
  }
  Hashing& hashing = *blob->hashing;
  const auto have = [&](std::uint64_t at) {
    return blob->blocks().test(static_cast<BlockIndex>(at / kBlockSize));
  };
  const auto read = [&](std::uint64_t at, std::span<std::byte> into) {
    return blob->read(at, into);
  };
  if (auto hashed = hash_on(hashing, info.size, have, read); !hashed) {
    blob->hashing.reset();
    if (blob->superseded()) return;  // retired while it was read
    return try_again_later(blob, hashed.error());
  }
  if (hashing.position == info.size) return finish(blob);
  if (have(hashing.position)) note(blob);
}

void Verifier::finish(const std::shared_ptr<BlobFile>& blob) {
  const BlobInfo& info = blob->identity();
  const std::uint64_t failed_syncs = blob->hashing->failed_syncs;
  auto hex = blob->hashing->hash.finish();
  if (!blob->begin_settling(failed_syncs)) {
    // A failed sync took blocks away while they were hashed.
    blob->hashing.reset();
    if (blob->blocks().full()) return note(blob);
    return blob->give_no_verdict({Code::io, "the disk has lost blocks of it", {}});
  }
  if (!hex) {
    blob->cancel_settling(failed_syncs);
    blob->hashing.reset();
    return try_again_later(blob, hex.error());
  }
  if (*hex != info.id.hex()) {
    blob->hashing.reset();
    return settler_.quarantine(blob);
  }
  Result<void> placed;
  if (auto durable = blob->sync(); !durable)
    placed = fail(durable);
  else if (blob->failed_syncs() != failed_syncs)
    placed = fail(Code::io, "{} could not be synced", blob->path());
  else
    placed = settler_.place(info, blob->path());
  blob->hashing.reset();
  if (!placed && blob->has_no_name()) return settler_.give_up(blob);
  if (!placed) {
    blob->cancel_settling(failed_syncs);
    return try_again_later(blob, placed.error());
  }
  blob->become_whole();
  settler_.add(blob, {});
  if (std::exchange(failing_, false)) log(Level::info, "store", "blobs are verified again");
}

void Verifier::try_again_later(std::shared_ptr<BlobFile> blob, const Error& why) {
  // One line when verdicts begin to fail, one when they are given again.
  if (!std::exchange(failing_, true))
    log(Level::error, "store", "blob {} cannot be verified now: {}", blob->identity().id.hex(),
        why.message);
  blob->give_no_verdict(why);
  later_.push_back(std::move(blob));
}

Result<void> Verifier::withdraw(std::uint64_t number, std::uint32_t incarnation, bool gone) {
  std::promise<Result<void>> done;
  if (!push({.task = [&] { done.set_value(put_aside(number, incarnation, gone)); }}))
    return fail(Code::cancelled, "the store is being closed");
  return done.get_future().get();
}

// Who opens it meanwhile waits for the next incarnation.
Result<void> Verifier::put_aside(std::uint64_t number, std::uint32_t incarnation, bool gone) {
  auto blob = parts_.blobs.begin_replacing(number, incarnation);
  if (!blob) return fail(blob);
  Result<void> done;
  if (gone)
    settler_.give_up(std::move(*blob));
  else
    done = settler_.withdraw(std::move(*blob));
  settler_.commit();
  if (auto committed = parts_.index.write_and_wait([](WriteTxn&) {}); done) done = committed;
  if (auto stuck = settler_.stuck(); done && stuck) done = fail(std::move(*stuck));
  parts_.blobs.end_replacing(number);
  return done;
}

Result<void> Verifier::begin_import(Import& import) {
  import.info = parts_.blobs.find(import.number);
  if (!import.info) return fail(Code::not_found, "there is no blob {}", import.number);
  if (import.info->verified) return {};
  auto file = parts_.disk.open(import.path, O_RDONLY | O_NONBLOCK, 0);
  if (!file) return fail(file);
  struct stat found {};
  if (::fstat(file->get(), &found) != 0) return fail(system_error(errno, import.path));
  // Another owner or a second name would let somebody else change verified bytes.
  if (!S_ISREG(found.st_mode) || found.st_nlink != 1 || found.st_uid != ::geteuid())
    return fail(Code::refused, "{} is not a regular file of this user with one name", import.path);
  if (static_cast<std::uint64_t>(found.st_size) != import.info->size)
    return fail(Code::corrupt, "{} has {} bytes, blob {} has {}", import.path, found.st_size,
                import.info->id.hex(), import.info->size);
  auto hash = ContentHash::start(import.info->id.kind(), import.info->size);
  if (!hash) return fail(hash);
  import.file = std::move(*file);
  import.hashing = Hashing{std::move(*hash), 0, 0};
  import.ahead.emplace(import.info->size);
  return {};
}

void Verifier::advance_import(std::unique_ptr<Import> import) {
  if (!import->info)
    if (auto begun = begin_import(*import); !begun) return import->done(begun);
  if (import->info->verified) return import->done(parts_.disk.remove(import->path));
  const auto have = [](std::uint64_t) { return true; };
  const auto read = [&](std::uint64_t at, std::span<std::byte> into) {
    import->ahead->reach(import->file.get(), at);
    return parts_.disk.pread_some(import->file.get(), into, at);
  };
  auto hashed = hash_on(*import->hashing, import->info->size, have, read);
  if (!hashed) return import->done(hashed);
  if (import->hashing->position == import->info->size) return finish_import(*import);
  {
    const std::lock_guard lock(mutex_);
    if (!stopping_) {
      jobs_.push_back({.import = std::move(import)});
      return;
    }
  }
  import->done(fail(Code::cancelled, "the store is being closed"));
}

// What was quarantined gets its next incarnation first: one incarnation has one end.
Result<std::shared_ptr<BlobFile>> Verifier::open_to_import_into(std::uint64_t number) {
  auto blob = parts_.blobs.open(number);
  if (!blob || !(*blob)->retired()) return blob;
  settler_.commit();
  (void)parts_.index.write_and_wait([](WriteTxn&) {});
  blob = parts_.blobs.open(number);
  if (blob && (*blob)->retired())
    return fail(Code::io, "the index does not take that blob {} had wrong bytes",
                (*blob)->identity().id.hex());
  return blob;
}

Result<void> Verifier::place_import(Import& import, const std::shared_ptr<BlobFile>& blob) {
  if (::fchmod(import.file.get(), 0600) != 0) return fail(system_error(errno, import.path));
  if (auto durable = parts_.disk.sync_data(import.file.get()); !durable) return durable;
  if (auto placed = settler_.place(*import.info, import.path); !placed) return placed;
  blob->become_whole(std::move(import.file));
  return {};
}

// The blob became whole in another way. Its verdict may be on its way to the index still, and what was
// imported is to outlive a kill.
void Verifier::answer_when_known(Import& import) {
  if (auto removed = parts_.disk.remove(import.path); !removed) return import.done(removed);
  settler_.commit();
  parts_.index.write([](WriteTxn&) {}, [this, done = std::move(import.done)](Result<void> committed) mutable {
    if (auto stuck = settler_.stuck(); committed && stuck) committed = fail(std::move(*stuck));
    done(std::move(committed));
  });
}

void Verifier::finish_import(Import& import) {
  const BlobInfo& info = *import.info;
  auto hex = import.hashing->hash.finish();
  if (!hex) return import.done(fail(hex));
  if (*hex != info.id.hex())
    return import.done(
        fail(Code::corrupt, "the hash of its bytes is {}, not {}", *hex, info.id.hex()));
  auto blob = open_to_import_into(info.number);
  if (!blob) return import.done(fail(blob));
  if ((*blob)->whole()) return answer_when_known(import);
  // It is on this disk already.
  if (auto room = evictor_.reserve({info.size, 0}); !room) return import.done(room);
  if (auto placed = place_import(import, *blob); !placed) {
    evictor_.settle(info.size, 0);
    return import.done(placed);
  }
  // What had been filled so far. It may go before the commit: the file in blobs/ is taken over.
  if (auto removed = parts_.disk.remove(parts_.directory.filling(info.number)); !removed)
    log(Level::warn, "store", "a leftover file stays: {}", removed.error().message);
  settler_.add(std::move(*blob), std::move(import.done));
}

}  // namespace hffs
