// SPDX-License-Identifier: Apache-2.0
#include "successor.h"

#include "hffs/telemetry.h"
#include "sandbox.h"

namespace hffs {

void Successor::look_at(const std::string& folder) {
  if (clock_.now() < *next_.lock() || !shut_out(folder)) return;
  {
    auto next = next_.lock();
    if (clock_.now() < *next) return;
    *next = clock_.now() + kPause;
  }
  log(Level::info, "daemon", "{} was mounted after this worker gave up its rights: another one goes on", folder);
  keeper_.ask_replacement();
}

}  // namespace hffs
