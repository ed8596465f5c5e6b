package cgroup

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what a group uses, as of Time.
type Usage struct {
	Time time.Time
	// CPU times in nanoseconds, since the group was made.
	CPU, CPUUser, CPUSystem              uint64
	Periods, ThrottledPeriods, Throttled uint64 // Throttled in nanoseconds
	// Memory in bytes. WorkingSet is what can't be taken back at once.
	Memory, WorkingSet, RSS, Cache, MappedFile, Swap, MaxMemory uint64
	// MemoryLimit is 0 without one.
	MemoryLimit                 uint64
	PageFaults, MajorPageFaults uint64
	MemoryFailures, OOMKills    uint64
	Processes, ProcessLimit     uint64
	// Devices by major:minor.
	Devices map[string]DeviceUsage
	// CPUShares, CPUQuota (0: none) and CPUPeriod in microseconds, as set.
	CPUShares, CPUQuota, CPUPeriod uint64
	// Pressure is what the second version says of stalls; nil in the first.
	Pressure map[string]Pressure
	// Created is when the group was made.
	Created time.Time
}

// DeviceUsage is what was read from and written to a device.
type DeviceUsage struct{ ReadBytes, WriteBytes, Reads, Writes uint64 }

// Pressure are total stall times in microseconds, and shares of time.
type Pressure struct{ Some, Full PressureLine }

// PressureLine is one line of a pressure file.
type PressureLine struct {
	Avg10, Avg60, Avg300 float64
	Total                uint64
}

// unlimited: the first version's largest number, less a page, is no limit.
const unlimited = 1 << 62

// Usage reads what a group uses.
func (m *Manager) Usage(path string) (Usage, error) {
	info, err := os.Stat(m.t.dir("memory", path))
	if err != nil {
		return Usage{}, err
	}
	u := Usage{Time: time.Now(), Created: info.ModTime(), Devices: map[string]DeviceUsage{}}
	r := reader{t: m.t, path: path}
	if m.Version() == 2 {
		r.second(&u)
	} else {
		r.first(&u)
	}
	if r.err != nil {
		return Usage{}, fmt.Errorf("control group %s: %w", path, r.err)
	}
	return u, nil
}

// reader reads a group's files and keeps the first error; a file that does
// not exist is one that this kernel, or the root, does not have.
type reader struct {
	t    *tree
	path string
	err  error
}

func (r *reader) text(controller, file string) string {
	raw, err := os.ReadFile(filepath.Join(r.t.dir(controller, r.path), file))
	if err != nil && !os.IsNotExist(err) && r.err == nil {
		if pe, ok := err.(*fs.PathError); !ok || pe.Err.Error() != "operation not supported" {
			r.err = err
		}
	}
	return strings.TrimSpace(string(raw))
}

// number is 0 for "max" and what is as good as no limit.
func (r *reader) number(controller, file string) uint64 {
	return bounded(parse(r.text(controller, file)))
}

func bounded(n uint64) uint64 {
	if n >= unlimited {
		return 0
	}
	return n
}

func parse(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64) // "max", "" and "-1" are 0
	return n
}

// table reads lines of a name and a number.
func (r *reader) table(controller, file string) map[string]uint64 {
	out := map[string]uint64{}
	for line := range strings.Lines(r.text(controller, file)) {
		if name, n, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			out[name] = parse(n)
		}
	}
	return out
}

func (r *reader) second(u *Usage) {
	cpu := r.table("cpu", "cpu.stat")
	u.CPU, u.CPUUser, u.CPUSystem = cpu["usage_usec"]*1000, cpu["user_usec"]*1000, cpu["system_usec"]*1000
	u.Periods, u.ThrottledPeriods, u.Throttled = cpu["nr_periods"], cpu["nr_throttled"], cpu["throttled_usec"]*1000
	quota, period, _ := strings.Cut(r.text("cpu", "cpu.max"), " ")
	u.CPUQuota, u.CPUPeriod = parse(quota), parse(period)
	if weight := r.number("cpu", "cpu.weight"); weight > 0 {
		u.CPUShares = minShares + (weight-1)*(maxShares-minShares)/9999
	}
	memory := r.table("memory", "memory.stat")
	u.Memory = r.number("memory", "memory.current")
	if u.Memory == 0 {
		u.Memory = memory["anon"] + memory["file"] // the root has no total
	}
	u.RSS, u.Cache, u.MappedFile = memory["anon"], memory["file"], memory["file_mapped"]
	u.PageFaults, u.MajorPageFaults = memory["pgfault"], memory["pgmajfault"]
	u.WorkingSet = less(u.Memory, memory["inactive_file"])
	u.Swap, u.MaxMemory = r.number("memory", "memory.swap.current"), r.number("memory", "memory.peak")
	u.MemoryLimit = r.number("memory", "memory.max")
	events := r.table("memory", "memory.events")
	u.MemoryFailures, u.OOMKills = events["max"], events["oom_kill"]
	u.Processes, u.ProcessLimit = r.number("pids", "pids.current"), r.number("pids", "pids.max")
	for line := range strings.Lines(r.text("io", "io.stat")) {
		device, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		var d DeviceUsage
		for _, f := range strings.Fields(rest) {
			name, n, _ := strings.Cut(f, "=")
			switch name {
			case "rbytes":
				d.ReadBytes = parse(n)
			case "wbytes":
				d.WriteBytes = parse(n)
			case "rios":
				d.Reads = parse(n)
			case "wios":
				d.Writes = parse(n)
			}
		}
		if device != "" {
			u.Devices[device] = d
		}
	}
	u.Pressure = map[string]Pressure{}
	for _, what := range []string{"cpu", "memory", "io"} {
		if text := r.text(what, what+".pressure"); text != "" {
			u.Pressure[what] = parsePressure(text)
		}
	}
}

func less(a, b uint64) uint64 {
	if b > a {
		return 0
	}
	return a - b
}

func parsePressure(text string) Pressure {
	var p Pressure
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		var l PressureLine
		for _, f := range fields[1:] {
			name, v, _ := strings.Cut(f, "=")
			x, _ := strconv.ParseFloat(v, 64) // what can't be read is 0
			switch name {
			case "avg10":
				l.Avg10 = x
			case "avg60":
				l.Avg60 = x
			case "avg300":
				l.Avg300 = x
			case "total":
				l.Total = parse(v)
			}
		}
		if fields[0] == "full" {
			p.Full = l
		} else {
			p.Some = l
		}
	}
	return p
}

// tick is the unit of the first version's CPU times, in nanoseconds.
const tick = 10 * 1000 * 1000

func (r *reader) first(u *Usage) {
	u.CPU = r.number("cpuacct", "cpuacct.usage")
	times := r.table("cpuacct", "cpuacct.stat")
	u.CPUUser, u.CPUSystem = times["user"]*tick, times["system"]*tick
	cpu := r.table("cpu", "cpu.stat")
	u.Periods, u.ThrottledPeriods, u.Throttled = cpu["nr_periods"], cpu["nr_throttled"], cpu["throttled_time"]
	u.CPUShares, u.CPUPeriod, u.CPUQuota = r.number("cpu", "cpu.shares"), r.number("cpu", "cpu.cfs_period_us"), r.number("cpu", "cpu.cfs_quota_us")
	memory := r.table("memory", "memory.stat")
	u.Memory, u.MaxMemory = r.number("memory", "memory.usage_in_bytes"), r.number("memory", "memory.max_usage_in_bytes")
	u.RSS, u.Cache, u.MappedFile, u.Swap = memory["total_rss"], memory["total_cache"], memory["total_mapped_file"], memory["total_swap"]
	u.PageFaults, u.MajorPageFaults = memory["total_pgfault"], memory["total_pgmajfault"]
	u.WorkingSet = less(u.Memory, memory["total_inactive_file"])
	u.MemoryLimit, u.MemoryFailures = r.number("memory", "memory.limit_in_bytes"), r.number("memory", "memory.failcnt")
	u.OOMKills = r.table("memory", "memory.oom_control")["oom_kill"]
	u.Processes, u.ProcessLimit = r.number("pids", "pids.current"), r.number("pids", "pids.max")
	r.blkio("blkio.throttle.io_service_bytes_recursive", func(d *DeviceUsage, op string, n uint64) {
		switch op {
		case "Read":
			d.ReadBytes = n
		case "Write":
			d.WriteBytes = n
		}
	}, u)
	r.blkio("blkio.throttle.io_serviced_recursive", func(d *DeviceUsage, op string, n uint64) {
		switch op {
		case "Read":
			d.Reads = n
		case "Write":
			d.Writes = n
		}
	}, u)
}

// blkio reads lines of a device, an operation and a number.
func (r *reader) blkio(file string, set func(d *DeviceUsage, op string, n uint64), u *Usage) {
	for line := range strings.Lines(r.text("blkio", file)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		d := u.Devices[f[0]]
		set(&d, f[1], parse(f[2]))
		u.Devices[f[0]] = d
	}
}
