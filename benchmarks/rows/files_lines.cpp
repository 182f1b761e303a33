// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The five files of the post by file_writer, on one worker and on two. Who starts them is a task too, so that there are no
// more threads that produce lines than workers.
#include "five_files.hpp"

#include <errand/group.hpp>
#include <errand/io.hpp>

#include <memory>

namespace microbench {

namespace {

void write_lines(line_file const& f) {
  errand::file_writer out{f.path};
  for (std::size_t i = 0; i < f.lines; ++i) out.write(the_line);
  out.close();
}

template <unsigned Workers>
repetition on_workers(settings const& s) {
  auto pool = std::make_shared<errand::pool>(Workers);
  return [=] {
    return write_five_files(s, [&](five_files const& files) {
      errand::async(*pool, [&] { errand::for_each(*pool, files, &write_lines); }).get();
    });
  };
}

add const one{"file-lines-1", role::ours, "file_writer", &on_workers<1>};
add const two{"file-lines-2", role::ours, "file_writer", &on_workers<2>};

}  // namespace

}  // namespace microbench
