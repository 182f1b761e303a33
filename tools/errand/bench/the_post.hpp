// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The table that started this: "Python 3.5 and multitasking", Brian Schrader, 18 September 2015.
// Printed beside ours, and marked for what it is: another machine, another language, other sizes
// of dispatch.
#pragma once

#include <array>
#include <string_view>

namespace bench {

struct row_of_the_post {
  std::string_view title;
  std::array<double, 3> seconds;  // CPU bound, I/O bound, both
};

inline constexpr std::array<row_of_the_post, 5> rows_of_the_post{{
    {"Serial", {7.804, 1.924, 4.789}},
    {"Threading", {8.251, 1.807, 4.976}},
    {"Multiprocess", {4.488, 1.320, 4.513}},
    {"Coro Thread", {8.221, 1.970, 7.724}},
    {"Coro Multi", {4.739, 0.951, 13.574}},
}};

}  // namespace bench
