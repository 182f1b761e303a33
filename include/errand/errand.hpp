// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// All of errand. Each header by itself is smaller: task.hpp (async, future, coroutines), group.hpp (map, loops),
// queue.hpp (whose turn it is), sync.hpp (semaphore, once), process.hpp (functions in other processes), io.hpp (files).
#pragma once

#include <errand/group.hpp>
#include <errand/io.hpp>
#include <errand/process.hpp>
#include <errand/queue.hpp>
#include <errand/shared_vector.hpp>
#include <errand/sync.hpp>
#include <errand/task.hpp>
