# What people type.
.PHONY: all help programs check-layers unit run test long install clean distclean
all: programs
programs: $(PROGRAMS)

help:
	@sed -n 's/^#: //p' tools/build/doors.mk
#: make run        build, then start Adit embedded (Ctrl-C stops it); state is in ./var
#: make test       all tests (<= 20 minutes; root for network namespaces)
#: make check      build, layers, lint, unit tests (4 minutes, no root)
#: make long       soak, chaos, long fuzz
#: make fuzz       each fuzzer for FUZZ_S seconds (20), from its corpus
#: make fuzz-coverage  what its corpus reaches of each parser (90 % at the least)
#: make bench      measurements
#: make install    programs, manual pages, completion, under $(DESTDIR)$(PREFIX)
#: make clean      removes what was built; make distclean: var/ too, after asking
#: make unit ROOM=lib/mux   the unit tests of one room (without ROOM: of all)

# ROOM=lib/mux: only what that room needs is built.
UNIT_TESTS := $(if $(ROOM),$(patsubst %.c,$(BUILD)/%,$(call room_tests,$(ROOM))),$(TESTS))
unit: $(UNIT_TESTS)
	@tools/run-unit $(UNIT_TESTS)

# ARGS="--port-base 10000": what adit up is given.
run:
	@exec tools/run $(BUILD) $(ARGS)

test:
	@exec tools/test $(BUILD)

long:
	@exec tools/test --long $(BUILD)

# ARGS="--peers adit-connect,frp --rounds 10": see bench/README.md.
.PHONY: bench
BENCH_TOOLS := $(BUILD)/bench/tunnel/load $(BUILD)/bench/tunnel/target
$(BENCH_TOOLS): %: %.o
	@$(CC) $(LDFLAGS) -o $@ $< -lpthread
bench: programs $(BENCH_TOOLS)
	@exec bench/tunnel/run.py --bin $(BUILD)/bin --tools $(BUILD)/bench/tunnel $(ARGS)

PREFIX ?= /usr/local
install: programs
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 0755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	@tools/install-texts $(BUILD)/bin/adit $(DESTDIR)$(PREFIX)/share

clean:
	rm -rf $(BUILD)

distclean: clean
	@if [ -d var ]; then \
	    printf 'Remove var/ (users, keys, audit trail of this checkout)? [y/N] '; \
	    read -r answer; [ "$$answer" = y ] && rm -rf var || echo 'var/ stays'; \
	fi
