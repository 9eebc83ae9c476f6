// SPDX-License-Identifier: Apache-2.0
//
// The proxies of this shell, beside those that the daemon was started with. Threads: main only; reads /proc.
#pragma once

#include "doctor.h"

namespace hffs::cli {

void check_proxies(const Patient& patient, Checks& checks);

}  // namespace hffs::cli
