// SPDX-License-Identifier: Apache-2.0
//
// libfuse's low-level API, in the version that this module is written against.
#pragma once

#define FUSE_USE_VERSION 317
#include <fuse_lowlevel.h>
