// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// OpenMPI's ping-pong between two ranks, which openmpi_ranks.cpp plays: a program beside this one, started by mpirun.
#include "own_process.hpp"

#include "bench/shell.hpp"

#include <filesystem>

namespace microbench {

namespace {

// Neither bound to processors nor kind to others: that would slow it. As root, in containers, and with more ranks than
// processors it wants to be told that this is meant.
add const hot{"process-hot", role::rival, "OpenMPI ping-pong", [](settings const& s) -> repetition {
                auto const ranks = std::filesystem::read_symlink("/proc/self/exe").replace_filename("errand-microbench-mpi");
                auto const command = std::string{ERRAND_MPIRUN} +
                                     " --allow-run-as-root --oversubscribe --bind-to none --mca mpi_yield_when_idle 0 -n 2 " +
                                     bench::quoted_for_shell(ranks) + " " + std::to_string(s.times(200'000));
                return [=] { return repeat_by_command(command); };
              }};

}  // namespace

}  // namespace microbench
