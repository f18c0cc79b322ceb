// A page of panels, drawn with Grafana's components from what a Prometheus answered.
//
// State timelines and tables are drawn here: Grafana's own are no part of its library.
import React from "react";
import { createRoot } from "react-dom/client";
import {
  ThemeContext,
  createTheme,
  FieldType,
  getDisplayProcessor,
  toDataFrame,
  formattedValueToString,
} from "@grafana/data";
import { BigValue, BigValueColorMode, PanelChrome, PortalContainer, TimeSeries } from "@grafana/ui";

const theme = createTheme({ colors: { mode: "light" } });
const { from, to, panels } = window.RECORDED;
const COLUMN = 50;
const ROW = 30;
const GAP = 8;
const timeRange = {
  from: { valueOf: () => from * 1000 },
  to: { valueOf: () => to * 1000 },
  raw: { from: "", to: "" },
};

const legend = (target, labels) =>
  target.legend.replace(/{{(\w+)}}/g, (_, name) => labels[name] ?? "");

function processed(field) {
  field.display = getDisplayProcessor({ field, theme, timeZone: "utc" });
  return field;
}

function everySeries(panel) {
  return panel.targets.flatMap((target) =>
    target.series.map((each) => ({ ...each, name: legend(target, each.labels) })),
  );
}

function Graph({ panel, width, height }) {
  const times = [];
  for (let time = from; time <= to; time += 10) times.push(time);
  const palette = theme.visualization.palette;
  const shown = everySeries(panel);
  const fields = [
    processed({ name: "time", type: FieldType.time, config: {}, values: times.map((t) => t * 1000) }),
    ...shown.map((each, index) => {
      const at = new Map(each.values.map(([time, value]) => [Math.round(time), Number(value)]));
      return processed({
        name: each.name,
        type: FieldType.number,
        config: {
          ...panel.fieldConfig.defaults,
          displayName: each.name,
          links: [],
          color: { mode: "fixed", fixedColor: palette[index % palette.length] },
        },
        state: { displayName: each.name, seriesIndex: index },
        values: times.map((time) => at.get(time) ?? null),
      });
    }),
  ];
  const frame = toDataFrame({ fields, refId: "A" });
  frame.fields.forEach((field, index) => Object.assign(field, fields[index]));
  const lines = Math.min(shown.length, 4);
  return (
    <div>
      <TimeSeries
        frames={[frame]}
        structureRev={1}
        timeRange={timeRange}
        timeZone="utc"
        width={width}
        height={height - lines * 18 - 4}
        legend={{ showLegend: false, displayMode: "list", placement: "bottom", calcs: [] }}
      />
      {shown.slice(0, lines).map((each, index) => (
        <div className="legend" key={each.name}>
          <i style={{ background: theme.visualization.getColorByName(palette[index]) }} />
          {each.name}
        </div>
      ))}
    </div>
  );
}

function Figures({ panel, width, height }) {
  const shown = everySeries(panel);
  if (!shown.length) {
    return <div className="nothing">{panel.fieldConfig.defaults.noValue ?? "No data"}</div>;
  }
  return (
    <div style={{ display: "flex", gap: GAP }}>
      {shown.map((each) => {
        const override = panel.fieldConfig.overrides.find(
          (one) => one.matcher.options === each.name,
        );
        const own = Object.fromEntries((override?.properties ?? []).map((p) => [p.id, p.value]));
        const field = processed({
          name: each.name,
          type: FieldType.number,
          config: { ...panel.fieldConfig.defaults, ...own, links: [] },
          values: [],
        });
        const value = field.display(Number(each.values.at(-1)[1]));
        const named = panel.options.textMode === "value_and_name" || shown.length > 1;
        return (
          <BigValue
            key={each.name}
            theme={theme}
            width={width / shown.length - GAP}
            height={height}
            colorMode={BigValueColorMode.Value}
            value={{ ...value, title: named ? each.name : undefined }}
          />
        );
      })}
    </div>
  );
}

function Timeline({ panel, width, height }) {
  const mapping = panel.fieldConfig.defaults.mappings[0].options;
  const shown = everySeries(panel);
  if (!shown.length) return <div className="nothing">No data</div>;
  const names = 190;
  const place = (time) => ((time - from) / (to - from)) * (width - names);
  return (
    <div>
      {shown.slice(0, Math.floor(height / 26)).map((each) => {
        const bars = [];
        for (const [time, value] of each.values) {
          const last = bars.at(-1);
          if (last && last.value === value && time - last.to <= 20) last.to = time;
          else bars.push({ from: time, to: time + 5, value });
        }
        return (
          <div className="line" key={each.name}>
            <span style={{ width: names }}>{each.name}</span>
            {bars.map((bar) => {
              const look = mapping[bar.value] ?? { text: bar.value, color: "text" };
              return (
                <b
                  key={bar.from}
                  style={{
                    left: names + place(bar.from),
                    width: Math.max(2, place(bar.to) - place(bar.from)),
                    background: theme.visualization.getColorByName(look.color),
                  }}
                >
                  {place(bar.to) - place(bar.from) > 60 ? look.text : ""}
                </b>
              );
            })}
          </div>
        );
      })}
    </div>
  );
}

function Rows({ panel }) {
  const { renameByName, excludeByName } = panel.transformations[1].options;
  const headings = Object.entries(renameByName).filter(([field]) => !excludeByName[field]);
  const rows = new Map();
  for (const target of panel.targets) {
    for (const { labels, values } of target.series) {
      const key = `${labels.instance} ${labels.uuid ?? ""}`;
      const row = rows.get(key) ?? {};
      rows.set(key, Object.assign(row, labels, { [`Value #${target.refId}`]: values.at(-1)[1] }));
    }
  }
  const sort = panel.options.sortBy[0].displayName;
  const [by] = headings.find(([, heading]) => heading === sort);
  const sorted = [...rows.values()].sort((a, b) => Number(b[by] ?? 0) - Number(a[by] ?? 0));
  const cell = (row, field, heading) => {
    if (row[field] === undefined) return { text: "" };
    const override = panel.fieldConfig.overrides.find((one) => one.matcher.options === heading);
    const own = Object.fromEntries((override?.properties ?? []).map((p) => [p.id, p.value]));
    if (!field.startsWith("Value #")) {
      const look = own.mappings?.[0].options[row[field]];
      return { text: row[field], color: look && theme.visualization.getColorByName(look.color) };
    }
    const described = processed({ name: heading, type: FieldType.number, config: own, values: [] });
    const value = described.display(Number(row[field]));
    const gauge = own["custom.cellOptions"]?.type === "gauge";
    return {
      text: formattedValueToString(value),
      gauge: gauge && Math.min(1, Number(row[field])),
      color: own.thresholds && value.color,
    };
  };
  return (
    <table>
      <thead>
        <tr>
          {headings.map(([field, heading]) => (
            <th key={field}>{heading}</th>
          ))}
        </tr>
      </thead>
      <tbody>
        {sorted.map((row, index) => (
          <tr key={index}>
            {headings.map(([field, heading]) => {
              const { text, gauge, color } = cell(row, field, heading);
              return (
                <td key={field} style={{ color }}>
                  {gauge !== undefined && gauge !== false && <s style={{ width: 50 * gauge }} />}
                  {field === "uuid" ? `${text.slice(0, 8)}…` : text}
                </td>
              );
            })}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const KINDS = { timeseries: Graph, stat: Figures, "state-timeline": Timeline, table: Rows };

function place(all) {
  let [x, y, high] = [0, 0, 0];
  return all.map((panel) => {
    const { w, h } = panel.gridPos;
    if (x + w > 24) [x, y, high] = [0, y + high, 0];
    const at = { left: x * COLUMN, top: y * ROW, width: w * COLUMN - GAP, height: h * ROW - GAP };
    x += w;
    high = Math.max(high, h);
    return { panel, at };
  });
}

function Page() {
  const placed = place(panels);
  return (
    <ThemeContext.Provider value={theme}>
      <PortalContainer />
      {placed.map(({ panel, at }) => {
        const Kind = KINDS[panel.type];
        return (
          <div key={panel.title} style={{ position: "absolute", ...at }}>
            <PanelChrome title={panel.title} width={at.width} height={at.height}>
              {(width, height) => <Kind panel={panel} width={width} height={height} />}
            </PanelChrome>
          </div>
        );
      })}
    </ThemeContext.Provider>
  );
}

createRoot(document.getElementById("page")).render(<Page />);
