// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "hffs/store.h"

namespace hffs {

// The names are those of the LMDB databases: part of the format, never reused for something else.
const TableInfo& info(Table table) {
  using enum Persistence;
  static constexpr std::array<TableInfo, static_cast<std::size_t>(Table::count_)> kTables{{
      {"meta", authoritative},
      {"blobs", rebuildable},
      {"blob_names", rebuildable},
      {"repos", rebuildable},
      {"repo_names", rebuildable},
      {"refs", rebuildable},
      {"ref_numbers", rebuildable},
      {"commits", rebuildable},
      {"commit_names", rebuildable},
      {"entries", rebuildable},
      {"entry_names", rebuildable},
      {"blob_sources", rebuildable},
      {"repo_blobs", rebuildable},
      {"overlay", authoritative},
      {"overlay_names", authoritative},
      {"blob_uses", rebuildable},
      {"evictions", authoritative},
      {"pins", authoritative},
      {"frozen_refs", authoritative},
  }};
  return kTables[static_cast<std::size_t>(table)];
}

}  // namespace hffs
