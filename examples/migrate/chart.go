package main

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// eighths are the blocks that fill a cell from below.
var eighths = [...]string{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"}

// sparkline draws vs in one line; most is a full block. What is above zero shows.
func sparkline(vs []float64, most float64) string {
	var b strings.Builder
	for _, v := range vs {
		b.WriteString(eighths[level(v, most)])
	}
	return b.String()
}

// level is the number of eighths that show v where most is all of them.
func level(v, most float64) int {
	if v <= 0 || most <= 0 {
		return 0
	}
	return min(max(int(math.Round(v/most*8)), 1), 8)
}

// bars draws vs as columns, the top line first. Each line stands for unit.
func bars(vs []float64, unit float64) []string {
	most := 0.0
	for _, v := range vs {
		most = max(most, v)
	}
	lines := make([]string, max(int(math.Ceil(most/unit)), 1))
	for i := range lines {
		below := float64(len(lines)-1-i) * unit
		var b strings.Builder
		for _, v := range vs {
			switch {
			case v-below >= unit:
				b.WriteString("█")
			case v <= below:
				b.WriteString(" ")
			default:
				b.WriteString(eighths[level(v-below, unit)])
			}
		}
		lines[i] = b.String()
	}
	return lines
}

// ruler is the line under a chart of width columns: each mark at its place, as far as there is
// room for it.
func ruler(width int, first string, marks []mark) string {
	line := []rune(strings.Repeat(" ", width))
	all := append([]mark{{0, first}}, marks...)
	for i, m := range all {
		at, end := column(m.at, width), width
		if i+1 < len(all) {
			end = column(all[i+1].at, width)
		}
		for j, c := range []rune("╵" + m.name) {
			if at+j < end && at+j < width {
				line[at+j] = c
			}
		}
	}
	return strings.TrimRight(string(line), " ")
}

func column(at float64, width int) int { return min(int(at*float64(width)), width) }

// chartWidth is how many columns a chart has at most: with room for the name of each phase.
const chartWidth = 76

// chart draws the loads of every run above each other, on one scale.
func chart(outs []outcome, rate int) string {
	const height = 8 // lines for the highest
	most, cols := 0.0, make([][]float64, len(outs))
	for i, o := range outs {
		cols[i] = o.series.columns(chartWidth, rate)
		for _, v := range cols[i] {
			most = max(most, v)
		}
	}
	unit := max(most/height, 1)
	if len(cols) > 0 && len(cols[0]) > 0 {
		unit = max(unit, slices.Max(cols[0])) // the run to compare with takes one line
	}
	var b strings.Builder
	for i, o := range outs {
		top := slices.Max(append([]float64{0}, cols[i]...))
		b.WriteString("  " + wayNames[o.way] + "\n")
		for j, line := range bars(cols[i], unit) {
			label := ""
			if j == 0 {
				label = thousands(top)
			}
			b.WriteString(pad(label, 10) + " ┤" + line + "\n")
		}
		b.WriteString(strings.Repeat(" ", 11) + "└" + strings.Repeat("─", len(cols[i])) + "\n")
		b.WriteString(strings.Repeat(" ", 12) + ruler(len(cols[i]), firstName(o), o.marks) + "\n")
	}
	return b.String()
}

// firstName is what there is before the first mark.
func firstName(o outcome) string {
	if o.way == hearth {
		return walk[0].short
	}
	return o.firstName
}

// thousands writes v without decimals, with commas.
func thousands(v float64) string {
	s := strconv.FormatInt(int64(math.Round(v)), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// pad puts blanks before s until it is n wide.
func pad(s string, n int) string {
	return strings.Repeat(" ", max(n-utf8.RuneCountInString(s), 0)) + s
}
