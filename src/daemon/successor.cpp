// SPDX-License-Identifier: Apache-2.0
#include "successor.h"

#include "hffs/telemetry.h"
#include "sandbox.h"

namespace hffs {

void Successor::look_at(const std::string& path) {
  const Instant due = *next_.lock();
  // It may hang: the lock is not held meanwhile.
  if (clock_.now() < due || !shut_out(path)) return;
  {
    auto next = next_.lock();
    if (*next != due) return;
    *next = clock_.now() + kPause;
  }
  log(Level::info, "daemon", "{} came after this worker gave up its rights: another one is asked for", path);
  keeper_.ask_replacement();
}

}  // namespace hffs
