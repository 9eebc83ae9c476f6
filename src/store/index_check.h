// SPDX-License-Identifier: Apache-2.0
//
// Whether LMDB can read an index. LMDB trusts its pages: damage is an error, a wrong answer, or the end of
// the process (SIGBUS, SIGSEGV, an assertion). So a child process reads it first: every page of every
// table, that keys ascend and that there are as many as the table says.
//
// Threads: the one that opens the store. Blocks on the disk, and on the child: as long as it takes to read
// the file once.
#pragma once

#include <string>
#include <vector>

#include "hffs/error.h"
#include "hffs/store.h"

namespace hffs {

struct SavedRow {
  Table table;
  std::string key, value;
};

struct IndexCheck {
  // Empty: good. Else what is wrong with it.
  std::string damage;
  // Of a damaged one: what stands by itself and could be read whole: `meta` and `pins`.
  std::vector<SavedRow> saved;
  bool pins_saved = false;
};

// io, denied, …: it could not be told. `directory` holds a data.mdb that is not empty. `all`: every table,
// else those of the store.
Result<IndexCheck> check_index(const std::string& directory, bool all);

}  // namespace hffs
