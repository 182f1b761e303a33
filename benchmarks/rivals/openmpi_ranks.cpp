// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// errand-microbench-mpi: two ranks of MPI. The first sends the number of a job, the second answers with it and its process:
// the empty job of the process rows by messages alone. Prints what repeat_by_command() reads.
#include "own_process.hpp"
#include "process_trips.hpp"

#include <mpi.h>

#include <cstdlib>

namespace {

using namespace microbench;

constexpr int first = 0;
constexpr int second = 1;

stamp ask(std::uint32_t argument) {
  stamp answer{};
  MPI_Send(&argument, sizeof argument, MPI_BYTE, second, 0, MPI_COMM_WORLD);
  MPI_Recv(&answer, sizeof answer, MPI_BYTE, second, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  return answer;
}

void answer_all(std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t argument = 0;
    MPI_Recv(&argument, sizeof argument, MPI_BYTE, first, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    stamp const answer = stamped(argument);
    MPI_Send(&answer, sizeof answer, MPI_BYTE, first, 0, MPI_COMM_WORLD);
  }
}

}  // namespace

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  auto const count = std::strtoull(argc > 1 ? argv[1] : "1", nullptr, 10);
  int status = 0;
  if (rank == second) answer_all(trips_to_warm_up + count);
  if (rank == first) status = print_repetition([&] { return hot_process_trips(count, &ask); });
  if (status != 0) MPI_Abort(MPI_COMM_WORLD, status);  // the other may wait for a job that does not come
  MPI_Barrier(MPI_COMM_WORLD);  // so that both are there while their processor time is asked for
  MPI_Finalize();
  return status;
}
