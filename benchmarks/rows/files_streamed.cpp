// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A large file written by file_writer, and read cold by lines, by for_each_line and by reduce_lines.
#include "streamed.hpp"
#include "text_tally.hpp"

#include <errand/io.hpp>

#include <cstdlib>

namespace microbench {

namespace {

// The subjects have processes of their own: there is no errand yet that could have read it.
void choose_threads_engine() { ::setenv("ERRAND_IO", "threads", 1); }

template <class Form>
sample written(settings const& s) {
  return streamed_write(
      s, [](std::uint64_t blocks) { Form::produce(blocks, discard); },
      [](std::string const& path, std::uint64_t blocks) {
        errand::file_writer out{path};
        Form::produce(blocks, [&](auto&& piece) { out.write(std::forward<decltype(piece)>(piece)); });
        out.close();
        return std::vector<fact>{{"waits", static_cast<double>(out.waits())}};
      });
}
template <class Form>
repetition write(settings const& s) {
  return [s] { return written<Form>(s); };
}

add const pieces{"file-write", role::ours, "pieces of 1 MiB", &write<in_pieces>, place::own_process};
add const strings{"file-write", role::ours, "strings of 1 MiB, moved", &write<in_moved_strings>, place::own_process};
add const lines{"file-write", role::ours, "lines of 60 bytes", &write<in_lines>, place::own_process};
add const pieces_by_threads{"file-write", role::ours, "pieces, ERRAND_IO=threads",
                            [](settings const& s) {
                              choose_threads_engine();
                              return write<in_pieces>(s);
                            },
                            place::own_process};

template <text_work What>
repetition by_lines(settings const& s) {
  return [s] {
    return cold_read(s, [](std::string const& path, std::uint64_t blocks) {
      text_tally all;
      for (std::string_view const line : errand::lines{path}) all.take<What>(line);
      all.verify<What>(blocks);
    });
  };
}
template <text_work What>
repetition by_for_each_line(settings const& s) {
  return [s] {
    return cold_read(s, [&s](std::string const& path, std::uint64_t blocks) {
      errand::pool pool{s.workers};
      tally_of_threads tallies;
      errand::for_each_line(pool, path, [&](std::string_view line) { tallies.mine().take<What>(line); });
      tallies.gathered().verify<What>(blocks);
    });
  };
}
template <text_work What>
repetition by_reduce_lines(settings const& s) {
  return [s] {
    return cold_read(s, [&s](std::string const& path, std::uint64_t blocks) {
      errand::pool pool{s.workers};
      reduce_text<What>(pool, path).template verify<What>(blocks);
    });
  };
}

add const lines_count{"file-read-cold", role::ours, "lines: count", &by_lines<text_work::count>, place::own_process};
add const lines_split{"file-read-cold", role::ours, "lines: split", &by_lines<text_work::split>, place::own_process};
add const lines_parse{"file-read-cold", role::ours, "lines: parse", &by_lines<text_work::parse>, place::own_process};
add const each_count{"file-read-cold", role::ours, "for_each_line: count", &by_for_each_line<text_work::count>,
                     place::own_process};
add const each_split{"file-read-cold", role::ours, "for_each_line: split", &by_for_each_line<text_work::split>,
                     place::own_process};
add const each_parse{"file-read-cold", role::ours, "for_each_line: parse", &by_for_each_line<text_work::parse>,
                     place::own_process};
add const reduce_count{"file-read-cold", role::ours, "reduce_lines: count", &by_reduce_lines<text_work::count>,
                       place::own_process};
add const reduce_split{"file-read-cold", role::ours, "reduce_lines: split", &by_reduce_lines<text_work::split>,
                       place::own_process};
add const reduce_parse{"file-read-cold", role::ours, "reduce_lines: parse", &by_reduce_lines<text_work::parse>,
                       place::own_process};
add const lines_by_threads{"file-read-cold", role::ours, "lines: count, ERRAND_IO=threads",
                           [](settings const& s) {
                             choose_threads_engine();
                             return by_lines<text_work::count>(s);
                           },
                           place::own_process};

// A quarter of the size, all of it in the page cache. The one who begins is a task of the pool, so that there are no more
// threads than workers.
template <unsigned Workers>
repetition warm(settings const& s) {
  return [s] {
    auto const blocks = std::max<std::uint64_t>(blocks_of(s) / 4, 4);
    auto const path = text_file(s, blocks);
    errand::pool pool{Workers};
    auto const work = [&] { return reduce_text<text_work::parse>(pool, path); };
    while (percent_cached(path) < 100) read_through_cache(path);
    text_tally all = errand::async(pool, work).get();
    all.verify<text_work::parse>(blocks);
    auto const begin = now_ns();
    all = errand::async(pool, work).get();
    auto const end = now_ns();
    all.verify<text_work::parse>(blocks);
    return sample{seconds_per_gib(end - begin, blocks), {{"% cached after", percent_cached(path)}}};
  };
}

add const warm_one{"file-read-warm", role::ours, "reduce_lines: parse, one worker", &warm<1>, place::own_process};
add const warm_two{"file-read-warm", role::ours, "reduce_lines: parse, two workers", &warm<2>, place::own_process};

}  // namespace

}  // namespace microbench
