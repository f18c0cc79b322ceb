{{- define "libvirt-exporter.name" -}}
{{- if contains "libvirt-exporter" .Release.Name -}}
{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-libvirt-exporter" .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{- define "libvirt-exporter.selector" -}}
app.kubernetes.io/name: libvirt-exporter
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "libvirt-exporter.labels" -}}
{{ include "libvirt-exporter.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "libvirt-exporter.metadata" -}}
name: {{ include "libvirt-exporter.name" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "libvirt-exporter.labels" . | nindent 2 }}
{{- end -}}
