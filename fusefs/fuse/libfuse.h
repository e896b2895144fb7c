// libfuse's low-level API, of one version, for both libraries that EbbFS is built with: Debian
// 12's 3.14 and the newer one that scripts/libfuse builds.  What only the newer one has is asked
// for by its macros.
#pragma once

#define FUSE_USE_VERSION 314

#include <fuse_lowlevel.h>
