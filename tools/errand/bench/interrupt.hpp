// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ctrl-C. The first SIGINT, SIGTERM or SIGHUP only sets a flag; the command looks at it between
// and during its steps, stops its children, removes its files and ends with status 2.
// The second one has its default effect and ends the program at once.
#pragma once

namespace bench {

// Installs the handlers. Called once by main.
void catch_interrupts();

// Gives the signals back their default effect; for children.
void forget_interrupts();

// Throws failure("interrupted") once a signal has arrived.
void check_interrupt();

}  // namespace bench
