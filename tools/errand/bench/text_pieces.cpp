// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The parallel program. The file is cut into pieces of about a MiB that end where lines end; a window of
// pieces is analysed by errand::map while the texts of the window before are written in the background.
#include "bench/auxiliary_file.hpp"
#include "bench/input_file.hpp"
#include "bench/text_analysis.hpp"
#include "bench/text_programs.hpp"

#include <errand/group.hpp>

#include <algorithm>
#include <vector>

namespace bench {
namespace {

constexpr std::uint64_t piece_size = 1 << 20;
constexpr std::uint64_t look_ahead = 64 << 10;  // for the end of a line
constexpr std::size_t pieces_per_worker = 4;

struct piece {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

struct piece_result {
  totals_by_key totals;
  std::string selected;
  std::string table;
};

// The first line's beginning at or after `at`.
std::uint64_t next_line(input_file const& file, std::uint64_t at) {
  std::string buffer(look_ahead, '\0');
  while (at < file.size()) {
    std::size_t const n = file.read_at(at, buffer);
    std::size_t const end = std::string_view(buffer).substr(0, n).find('\n');
    if (end != std::string_view::npos) return at + end + 1;
    at += n;
    if (n == 0) break;
  }
  return file.size();
}

// Up to `count` pieces from `at` on; moves `at` behind them.
std::vector<piece> next_pieces(input_file const& file, std::uint64_t& at, std::size_t count) {
  std::vector<piece> pieces;
  while (at < file.size() && pieces.size() < count) {
    std::uint64_t const end = at + piece_size < file.size() ? next_line(file, at + piece_size) : file.size();
    pieces.push_back({at, end});
    at = end;
  }
  return pieces;
}

piece_result analyse_piece(input_file const& file, piece const& p) {
  std::string text(p.end - p.begin, '\0');
  text.resize(file.read_at(p.begin, text));
  piece_result result;
  result.selected.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    std::size_t const end = std::min(text.find('\n', at), text.size());
    analyse_line(std::string_view(text).substr(at, end - at), result.totals, result.selected, result.table);
    at = end + 1;
  }
  return result;
}

}  // namespace

void analyse_in_pieces(text_job const& job) {
  input_file const file(job.input);
  stream_file selected(job.selected());
  stream_file table(job.table());
  totals_by_key totals;

  std::vector<piece_result> done;  // being written while the next window is analysed
  errand::future<void> on_its_way;
  std::size_t const window = pieces_per_worker * static_cast<std::size_t>(job.workers);
  for (std::uint64_t at = 0; at < file.size();) {
    std::vector<piece> const pieces = next_pieces(file, at, window);
    auto results = errand::map(pieces, [&](piece const& p) { return analyse_piece(file, p); });
    if (on_its_way.valid()) on_its_way.get();
    done = std::move(results);
    on_its_way = errand::async([&] {
      for (piece_result const& r : done) {
        totals.add(r.totals);
        selected.append(r.selected);
        table.append(r.table);
      }
      selected.check();
      table.check();
    });
  }
  if (on_its_way.valid()) on_its_way.get();

  selected.finish();
  table.finish();
  stream_file totals_file(job.totals());
  totals_file.append(totals.to_text());
  totals_file.finish();
}

}  // namespace bench
