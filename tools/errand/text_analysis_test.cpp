// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "bench/text_analysis.hpp"

#include "bench/failure.hpp"
#include "bench/input_file.hpp"
#include "bench/scratch_directory.hpp"
#include "bench/shell.hpp"
#include "bench/text_input.hpp"
#include "bench/text_programs.hpp"
#include "bench/verify.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace bench {
namespace {

TEST(a_line, has_the_first_word_that_begins_with_a_letter_as_its_key) {
  EXPECT_EQ(parse_line("2015-09-18 10:00:00 orders GET /item/7 200 1532").key, "orders");
  EXPECT_EQ(parse_line("  indented text").key, "indented");
  EXPECT_EQ(parse_line("12 34").key, "-");
  EXPECT_EQ(parse_line("").key, "-");
}

TEST(a_line, has_its_last_number_or_else_its_length_as_its_value) {
  EXPECT_EQ(parse_line("orders 200 1532").value, 1532U);
  EXPECT_EQ(parse_line("took 15 ms").value, 15U);
  EXPECT_EQ(parse_line("no number").value, 9U);
  EXPECT_EQ(parse_line("99999999999999999999999").value, 999'999'999'999'999'999U);
}

TEST(totals, of_parts_add_up_to_the_totals_of_the_whole) {
  totals_by_key whole;
  totals_by_key first;
  totals_by_key second;
  for (std::uint64_t i = 0; i < 100; ++i) {
    parsed_line const p{i % 3 == 0 ? "a" : "b", i};
    whole.add(p);
    (i < 40 ? first : second).add(p);
  }
  first.add(second);
  EXPECT_EQ(first.to_text(), whole.to_text());
}

class text_programs : public testing::Test {
 protected:
  text_job job_in(std::string const& name) const {
    text_job const job{scratch_.file("input.txt"), scratch_.file(name), 2};
    std::filesystem::create_directory(job.directory);
    return job;
  }

  // All three on the input that the test has written.
  void expect_same_outputs() const {
    text_job const serial = job_in("serial");
    analyse_serially(serial);
    text_job const lines = job_in("lines");
    analyse_as_lines(lines);
    text_job const reduced = job_in("reduced");
    analyse_by_reducing(reduced);
    for (text_job const& job : {lines, reduced}) EXPECT_NO_THROW(verify_same_bytes(job.totals(), serial.totals()));
    EXPECT_NO_THROW(verify_same_bytes(lines.selected(), serial.selected()));
    EXPECT_NO_THROW(verify_same_bytes(lines.table(), serial.table()));
    EXPECT_NO_THROW(verify_same_lines(reduced.selected(), lines_of(serial.selected())));
    EXPECT_NO_THROW(verify_same_lines(reduced.table(), lines_of(serial.table())));
  }

  scratch_directory scratch_{""};
};

TEST_F(text_programs, agree_on_a_log_of_several_pieces) {
  generate_text(scratch_.file("input.txt"), 10 << 20);
  expect_same_outputs();
}

TEST_F(text_programs, agree_on_an_empty_file) {
  std::ofstream(scratch_.file("input.txt")).close();
  expect_same_outputs();
}

TEST_F(text_programs, agree_where_the_last_line_has_no_end) {
  std::ofstream(scratch_.file("input.txt")) << "first 1\n\nlast 3";
  expect_same_outputs();
}

TEST_F(text_programs, agree_on_a_line_longer_than_a_piece) {
  std::ofstream(scratch_.file("input.txt")) << "short 1\n" << std::string(9 << 20, 'x') << "\nshort 3\n";
  expect_same_outputs();
}

TEST_F(text_programs, of_other_languages_agree_where_they_are_installed) {
  generate_text(scratch_.file("input.txt"), 1 << 20);
  text_job const serial = job_in("serial");
  analyse_serially(serial);
  for (auto const& [name, run] :
       {std::pair(std::string("awk"), &analyse_by_awk), std::pair(std::string("python3"), &analyse_by_python)}) {
    if (!is_installed(name)) continue;
    text_job const job = job_in(name);
    run(job);
    EXPECT_NO_THROW(verify_same_bytes(job.totals(), serial.totals())) << name;
    EXPECT_NO_THROW(verify_same_bytes(job.selected(), serial.selected())) << name;
    EXPECT_NO_THROW(verify_same_bytes(job.table(), serial.table())) << name;
  }
  text_job const sorted = job_in("sort");
  count_by_sort(sorted);
  EXPECT_NO_THROW(verify_same_counts(sorted.directory + "/counts.txt", serial.totals()));
}

TEST(lines_in_another_order, are_the_same_and_others_are_not) {
  scratch_directory const scratch("");
  std::ofstream(scratch.file("a")) << "one\ntwo\nthree\n";
  std::ofstream(scratch.file("b")) << "three\none\ntwo\n";
  std::ofstream(scratch.file("c")) << "three\none\none\n";
  std::ofstream(scratch.file("d")) << "three\none\n";
  EXPECT_NO_THROW(verify_same_lines(scratch.file("b"), lines_of(scratch.file("a"))));
  EXPECT_THROW(verify_same_lines(scratch.file("c"), lines_of(scratch.file("a"))), failure);
  EXPECT_THROW(verify_same_lines(scratch.file("d"), lines_of(scratch.file("a"))), failure);
}

TEST(counts_of_uniq, are_those_of_the_totals) {
  scratch_directory const scratch("");
  std::ofstream(scratch.file("totals")) << "cart\t2\t10\t1\t9\nmail\t1\t5\t5\t5\n";
  std::ofstream(scratch.file("right")) << "      2 cart\n      1 mail\n";
  std::ofstream(scratch.file("wrong")) << "      2 cart\n      2 mail\n";
  std::ofstream(scratch.file("more")) << "      2 cart\n      1 mail\n      1 zoo\n";
  EXPECT_NO_THROW(verify_same_counts(scratch.file("right"), scratch.file("totals")));
  EXPECT_THROW(verify_same_counts(scratch.file("wrong"), scratch.file("totals")), failure);
  EXPECT_THROW(verify_same_counts(scratch.file("more"), scratch.file("totals")), failure);
}

TEST(generated_text, is_the_same_each_time_and_ends_with_a_whole_line) {
  scratch_directory const scratch("");
  generate_text(scratch.file("a"), 100'000);
  generate_text(scratch.file("b"), 100'000);
  EXPECT_NO_THROW(verify_same_bytes(scratch.file("a"), scratch.file("b")));
  std::uint64_t const size = input_file(scratch.file("a")).size();
  EXPECT_GE(size, 100'000U);
  EXPECT_LT(size, 100'000U + longest_generated_line);
}

}  // namespace
}  // namespace bench
