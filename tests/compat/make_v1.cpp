// SPDX-License-Identifier: Apache-2.0
//
// Makes the store that v1.tar.gz froze: compat_make_v1 DIRECTORY. Run once, when format 1 was
// finished (tests/compat/README.md); kept to show what is in it, and as the model for format 2.
#include <cstdio>
#include <fstream>

#include "fake_origin.h"
#include "hffs/catalog.h"
#include "hffs/record.h"
#include "overlay_rows.h"
#include "v1_content.h"
#include "wait.h"

namespace hffs::compat {
namespace {

using test::wait_for;

int failed(const char* what) {
  std::fprintf(stderr, "failed: %s\n", what);
  return 1;
}
#define CHECK(what) \
  if (!(what)) return failed(#what)

Result<void> write(Blob& blob, BlockIndex first, std::span<const std::byte> bytes) {
  return wait_for<void>(
      [&](Done<void> done) { blob.write(first, {bytes.begin(), bytes.end()}, std::move(done)); });
}

int make(const std::string& directory) {
  Metrics metrics;
  auto opened = Store::open({.state_dir = directory, .map_size = 1 << 20}, system_disk(),
                            system_clock(), metrics);
  CHECK(opened);
  Store& store = **opened;
  test::FakeOrigin origin;
  origin.repos["acme/tiny"] = {.refs = {{"main", kCommit}}, .trees = {{kCommit, tree()}}};
  const auto access = allow_everybody();
  auto catalog = Catalog::open({}, origin, store, *access, system_clock(), metrics);
  CHECK(catalog);
  const auto lookup = [&](NodeId parent, const std::string& name) {
    auto entry = wait_for<Entry>(
        [&](Done<Entry> done) { (*catalog)->lookup(Caller{}, parent, name, std::move(done)); });
    return entry ? entry->node : NodeId{};
  };
  const NodeId repo = lookup(kRootNode, "models--acme--tiny");
  CHECK(lookup(lookup(repo, "refs"), "main").value != 0);
  CHECK(lookup(lookup(lookup(repo, "snapshots"), kCommit), "sub").value != 0);
  const NodeId blobs = lookup(repo, "blobs");
  const auto open = [&](const std::string& hash) {
    return *store.open_blob(lookup(blobs, hash).blob_number());
  };
  const auto config = std::as_bytes(std::span(kConfig));
  CHECK(write(*open(kConfigHash), 0, config));
  const auto bytes = weights();
  CHECK(write(*open(kWeightsHash), 0, std::span(bytes).first(kBlockSize)));
  CHECK(write(*open(kWeightsHash), 2, std::span(bytes).subspan(2 * kBlockSize, kBlockSize)));
  CHECK(write(*open(kNotesHash), 0, std::as_bytes(std::span("wrong", 5))));

  fs::OverlayRow own{.number = *fs::reserve_numbers(store),
                     .user = kUser,
                     .group = kUser,
                     .mode = 0644,
                     .parent = repo,
                     .name = kOwnName};
  CHECK(wait_for<void>([&](Done<void> done) {
    store.write(
        [&](WriteTxn& txn) {
          txn.put(Table::overlay, KeyWriter().u64(own.number), fs::encode(own));
        },
        std::move(done));
  }));
  const auto overlay = store.directory("overlay");
  CHECK(overlay);
  std::ofstream(fmt::format("{}/{:016x}", *overlay, own.number)) << kOwnText;
  CHECK(store.flush());
  return 0;
}

}  // namespace
}  // namespace hffs::compat

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
    return 2;
  }
  return hffs::compat::make(argv[1]);
}
