// SPDX-License-Identifier: Apache-2.0
//
// The world's lives: how it begins, ends, and is killed. What happens in one: store_steps.cpp.
#include "store_world.h"

#include <fcntl.h>

#include <thread>

#include "hffs/record.h"
#include "state_dir.h"

namespace hffs::test {
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kMapSize = std::uint64_t{8} << 20;

}  // namespace

StoreWorld::StoreWorld(Trial& trial)
    : trial_(trial),
      setup_(trial.dice(3)),
      disk_may_fail_(setup_.chance(25)),
      orderly_(!disk_may_fail_),
      model_(trial) {
  max_size_ = setup_.chance(60) ? setup_.between(2, 6) * kBlockSize : 0;
  begin_life();
  open_store();
}

StoreWorld::~StoreWorld() { end_life(); }

void StoreWorld::begin_life() {
  ++life_;
  killed_ = false;
  calls_to_kill_ = -1;
  disk_ = std::make_unique<FailingDisk>(trial_, trial_.seed() * 1'000 + static_cast<std::uint64_t>(life_));
  fs::create_directories(directory_.path() + fmt::format("/{}", life_));
}

void StoreWorld::open_store() {
  StoreOptions options{.state_dir = directory_.path() + fmt::format("/{}", life_),
                       .map_size = kMapSize,
                       .sync_interval = std::chrono::milliseconds(orderly_ ? 3'600'000 : 3)};
  options.limits.max_size = max_size_;
  model_.with([&](auto& state) {
    state.may_evict = max_size_ > 0;
    state.only_copies_may_go = false;
    state.disk_fails = false;
  });
  auto opened = Store::open(options, *disk_, clock_, metrics_);
  if (!trial_.check(opened.has_value(), "the store does not open: {}", opened ? "" : opened.error().message)) return;
  store_ = std::move(*opened);
  store_->on_incarnation([this](const BlobInfo& info) {
    if (!killed_) model_.see(info);
  });
  store_->bounds().on_evicted([this](std::uint64_t number, std::uint32_t ended) {
    if (!killed_) model_.evicted(number, ended);
  });
  store_->bounds().protect([this](const ReadTxn&, const Bounds::Visit& visit) {
    for (const auto& [number, item] : model_.copy().items) {
      if (item.pinned) visit(number, Bounds::Stay::pinned);
      if (item.only_copy) visit(number, Bounds::Stay::only_copy);
    }
  });
  // As the daemon does: the limit may be lower than it was.
  (void)wait_for<Bounds::Outcome>([&](Done<Bounds::Outcome> done) { store_->bounds().evict({}, std::move(done)); });
  most_used_ = store_->bounds().state().used;
  known_store_ = store_.get();
  disk_->at_each_call = [this] { at_disk_call(); };
}

void StoreWorld::end_life() {
  known_store_ = nullptr;
  disk_->stop_telling();
  disk_->fail_percent = 0;
  for (Held& held : std::exchange(held_, {})) let_go(held.number, std::move(held.blob));
  settle_writes();
  if (!store_) return;
  store_.reset();
}

void StoreWorld::restart(bool new_limit, Dice& dice) {
  trial_.note("the store is closed and opened again");
  disk_->fail_percent = 0;
  settle_writes();
  end_life();
  model_.restart_cleanly();
  if (new_limit) max_size_ = dice.chance(60) ? dice.between(2, 6) * kBlockSize : 0;
  open_store();
  audit();
}

// Called before each call of the disk, which stands still.
void StoreWorld::at_disk_call() {
  if (killed_ || calls_to_kill_ < 0 || calls_to_kill_-- > 0) return;
  note_remains();
}

void StoreWorld::note_remains() {
  Store* store = known_store_;
  if (store == nullptr) return;
  // First: what the index knows and the model does not is seen, not the other way round.
  remains_.state = model_.copy();
  store->read([&](const ReadTxn& txn) {
    for (int table = 0; table < static_cast<int>(Table::count_); ++table)
      txn.scan(static_cast<Table>(table), {}, {}, [&](std::string_view key, std::string_view value) {
        remains_.rows.emplace_back(static_cast<Table>(table), key, value);
        return true;
      });
  });
  remains_.image = disk_->survives(luck_);
  killed_ = true;
}

void StoreWorld::kill() {
  trial_.note("the store is killed");
  while (!killed_) {
    calls_to_kill_ = 0;
    (void)disk_->make_directory(directory_.path(), 0700);  // a call
  }
  end_life();
  const Remains remains = std::exchange(remains_, {});
  const std::string before = directory_.path() + fmt::format("/{}", life_);
  begin_life();
  lay_out(remains);
  std::error_code ignored;
  fs::remove_all(before, ignored);
  std::map<std::uint64_t, BlobRow> rows;
  for (const auto& [table, key, value] : remains.rows) {
    const auto row = table == Table::blobs ? decode_blob(value) : Result<BlobRow>(fail(Code::bug, "another"));
    if (row) rows.emplace(Reader(key).key_u64(), *row);
  }
  model_.restart(remains.state, rows);
  if (trial_.failed()) return;
  open_store();
  audit();
}

// Lays what is left out as a store of its own, on a disk that has it durable.
void StoreWorld::lay_out(const Remains& remains) {
  const std::string old_root = directory_.path() + fmt::format("/{}/hffs-v1", life_ - 1);
  const std::string root = directory_.path() + fmt::format("/{}/hffs-v1", life_);
  fs::create_directories(root + "/index");
  {
    auto environment = Environment::open(root + "/index", kMapSize);
    if (!trial_.check(environment.has_value(), "no index can be made")) return;
    IndexTxn txn(**environment);
    for (const auto& [table, key, value] : remains.rows) txn.put(table, key, value);
    trial_.check(txn.commit().has_value(), "the index cannot be written");
  }
  const std::string format = format_text();
  write_file(root + "/FORMAT", std::as_bytes(std::span(format)));
  write_file(root + "/index/in-use", {});
  std::set<std::string> folders;
  for (const auto& [path, bytes] : remains.image.files) {
    if (!path.starts_with(old_root + "/")) continue;
    const std::string to = root + path.substr(old_root.size());
    if (to.ends_with("/FORMAT") || to.find("/index/") != to.npos) continue;
    const std::string folder = fs::path(to).parent_path();
    fs::create_directories(folder);
    folders.insert(folder);
    const auto file = disk_->open(to, O_WRONLY | O_CREAT, 0600);
    if (!trial_.check(file.has_value(), "{} cannot be laid out", to)) return;
    (void)disk_->pwrite_all(file->get(), bytes, 0);
    (void)disk_->sync_data(file->get());
  }
  for (const auto& folder : folders) (void)disk_->sync_directory(folder);
}

// All that is there is right, all that must be there is, and it is counted.
void StoreWorld::audit() {
  if (trial_.failed() || !store_) return;
  std::uint64_t bytes = 0;
  for (const auto& [number, item] : model_.copy().items) {
    const auto blob = open(number);
    if (!blob) return;
    for (BlockIndex block = 0; block < item.blocks.size(); ++block)
      read_block(*blob, number, block, bytes_of(block, blob->identity().size));
    await_verdict(*blob);
    let_go(number, blob);
  }
  flush();
  if (trial_.failed() || !disk_works()) return;
  wait_for_evictions();
  for (const auto& [number, item] : model_.copy().items) {
    const auto info = store_->blob(number);
    if (!trial_.check(info.has_value(), "blob {} is not known any more", number)) return;
    bytes += info->bytes_here;
  }
  const auto usage = store_->usage();
  const auto state = store_->bounds().state();
  trial_.check(usage.bytes == bytes && usage.unclaimed_bytes == 0 && state.used == bytes,
               "{} bytes are here; {} are counted as claimed, {} as unclaimed, {} as used", bytes, usage.bytes,
               usage.unclaimed_bytes, state.used);
  // A verdict may be on its way between disk and index: a moment later both agree.
  std::uint64_t verified = 0, known = 0;
  for (int i = 0; i < 100 && (i == 0 || verified != known); ++i) {
    if (i > 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    verified = known = 0;
    const fs::path blobs = store_->blob_directory();
    std::error_code gone;
    for (const auto& each : fs::recursive_directory_iterator(blobs))
      if (each.is_regular_file(gone)) verified += each.file_size(gone);
    for (const auto& [number, item] : model_.copy().items)
      if (const auto info = store_->blob(number); info->verified) known += info->size;
  }
  trial_.check(verified == known, "{} bytes lie in blobs/, {} are verified", verified, known);
}

}  // namespace hffs::test
