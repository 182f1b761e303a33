// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A thousand small files: all of them started at once, then waited for.
#include "small_files.hpp"

#include <errand/io.hpp>

namespace microbench {

namespace {

add const written{"file-small-write", role::ours, "write_file", [](settings const& s) -> repetition {
                    return [s] {
                      return small_written(s, [](small_files const& files) {
                        std::vector<errand::future<void>> under_way;
                        under_way.reserve(files.count());
                        for (std::size_t i = 0; i < files.count(); ++i)
                          under_way.push_back(errand::write_file(files.path(i), files.contents(i)));
                        for (auto& f : under_way) f.get();
                      });
                    };
                  }};

add const read{"file-small-read", role::ours, "read_file", [](settings const& s) -> repetition {
                 return [s] {
                   return small_read(s, [](small_files const& files) {
                     std::vector<errand::future<std::string>> under_way;
                     under_way.reserve(files.count());
                     for (std::size_t i = 0; i < files.count(); ++i)
                       under_way.push_back(errand::read_file(files.path(i)));
                     std::vector<std::string> all;
                     all.reserve(files.count());
                     for (auto& f : under_way) all.push_back(f.get());
                     return all;
                   });
                 };
               }};

}  // namespace

}  // namespace microbench
